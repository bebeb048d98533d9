#!/bin/bash
# When a sensor stops responding, its readings disappear from the scrape, `ina260_up` is 0, and two
# lines are logged however long the outage lasts.
. scenarios/lib.sh
start_service 'summary = "0"'
pid=$(property MainPID)
wait_until 10 above ina260_results_total 3
results=$(metric ina260_results_total)
mark_journal

readings='^ina260_(voltage|current|power|bus_voltage_volts|current_amperes|power_watts)\{'
readings_are_gone() {
    lines=$(scrape)
    ! grep --extended-regexp "$readings" <<<"$lines"
}
start=$SECONDS
chip plugged 0
wait_until 10 readings_are_gone
# 5 s, and a few more in an emulated machine.
((SECONDS - start <= 8)) || fail "readings are gone only after $((SECONDS - start)) s"
expect "up" 0 "$(metric ina260_up)"

# `ina260_up` and the counters remain.
above ina260_results_total "$((results - 1))" || fail "results fell"
wait_until 10 above ina260_read_errors_total 0 'kind="nack"'
holds_for 30 shows ina260_up 0
readings_are_gone || fail "readings of a sensor that is down"

errors=$(metric ina260_read_errors_total 'kind="nack"')
transfers=$(chip transfers)
chip plugged 1
set_load 0x2260 0x0320
# The longest backoff is 30 s.
wait_until 45 shows ina260_up 1
wait_until 10 shows ina260_voltage 11
above ina260_read_errors_total "$((errors - 1))" 'kind="nack"' || fail "errors fell"
((errors < 40)) || fail "$errors errors, $transfers transfers: no backoff"

echo "--- journal"
journal
expect "log lines" 2 "$(journal | wc --lines)"
[[ $(journal | head -1) == "sensor deepx (bus 1, 0x40): "*"errno 121"* ]] ||
    fail "unexpected first line"
last=$(journal | tail -1)
[[ $last == "sensor deepx (bus 1, 0x40): responding again after "*" failed attempts"* ]] ||
    fail "unexpected last line"
expect "main process" "$pid" "$(property MainPID)"
