#!/bin/bash
# A thousand clients that connect and say nothing hold the listener. The daemon notices, starts anew, keeps its counters, and
# does not fill the journal with it.
. scenarios/lib.sh
begin
wait_until 20 above ina260_results_total 9
pid=$(property MainPID)
mark_journal

ulimit -n 4096
hold() {
    local connections=() connection
    for _ in {1..1000}; do
        exec {connection}<>/dev/tcp/127.0.0.1/8000 || break
        connections+=("$connection")
    done
    echo "${#connections[@]}" >/run/held
    sleep infinity
}
results=$(metric ina260_results_total)
hold 2>/run/hold.errors &
wait_until 60 test -s /run/held
echo "$(cat /run/held) connections"
(($(cat /run/held) >= 500)) || fail "too few connections: $(cat /run/hold.errors)"
refuses scrape

start=$SECONDS
wait_until 90 scrape
echo "scraped again after $((SECONDS - start)) s"
[[ $(property MainPID) != "$pid" ]] || fail "it is still the old process: nothing was noticed"
above ina260_results_total "$((results - 1))" || fail "results fell from $results to $(metric ina260_results_total)"
wait_until 10 shows ina260_voltage 12
journal
journal_of_systemd
lines=$(journal | wc --lines)
((lines < 40)) || fail "$lines lines in the journal"
[[ $(journal_of_systemd) == *"status=1/FAILURE"* ]] || fail "it did not end by itself with 1"
