#!/bin/bash
# A chip that stops answering: its readings leave the scrape, `ina260_up` is 0, and the journal gets two lines, however long it lasts.
. scenarios/lib.sh
begin 'summary = "0"'
pid=$(property MainPID)
wait_until 10 above ina260_results_total 3
results=$(metric ina260_results_total)
mark_journal

readings_are_gone() {
    lines=$(scrape)
    ! grep --extended-regexp "^ina260_(voltage|current|power|bus_voltage_volts|current_amperes|power_watts)\{" <<<"$lines"
}
start=$SECONDS
chip plugged 0
wait_until 10 readings_are_gone
# 5 s, and what an emulated machine takes.
((SECONDS - start <= 8)) || fail "readings are gone after $((SECONDS - start)) s only"
expect "up" 0 "$(metric ina260_up)"

# What stays: that it is down, and the counters.
above ina260_results_total "$((results - 1))" || fail "results fell"
wait_until 10 above ina260_read_errors_total 0 'kind="nack"'
for_seconds 30 shows ina260_up 0
readings_are_gone || fail "readings of a dead sensor"

errors=$(metric ina260_read_errors_total 'kind="nack"')
transfers=$(chip transfers)
chip plugged 1
sees 0x2260 0x0320
# The backoff ends at 30 s.
wait_until 45 shows ina260_up 1
wait_until 10 shows ina260_voltage 11
above ina260_read_errors_total "$((errors - 1))" 'kind="nack"' || fail "errors fell"
((errors < 40)) || fail "$errors errors, $transfers transfers: no backoff"

echo "--- the journal"
journal
expect "lines in the journal" 2 "$(journal | wc --lines)"
[[ $(journal | head -1) == "sensor deepx (bus 1, 0x40): "*"errno 121"* ]] || fail "the first line"
[[ $(journal | tail -1) == "sensor deepx (bus 1, 0x40): answers again after "*" failed rounds"* ]] || fail "the last line"
expect "main process" "$pid" "$(property MainPID)"
