#!/bin/bash
# A thousand clients that connect and say nothing hold the listener. The daemon notices, starts anew, keeps its counters, and
# does not fill the journal with it.
# on one release
. scenarios/lib.sh
begin
wait_until 20 above ina260_results_total 9
pid=$(property MainPID)
mark_journal

# Until the daemon has no descriptor left and the kernel's queue is full; the next one waits, and breaks when the daemon ends.
hold() {
    local connection
    ulimit -n 4096
    for _ in {1..1000}; do
        # shellcheck disable=SC2034 # open until the end
        exec {connection}<>/dev/tcp/127.0.0.1/8000 || break
    done
    sleep infinity
}
results=$(metric ina260_results_total)
hold 2>/dev/null &
wait_until 60 eval "! scrape"
echo "$(ss --no-header --numeric state established '( dport = :8000 )' | wc --lines) connections are open"

start=$SECONDS
wait_until 90 scrape
((SECONDS - start >= 10)) || fail "scraped again after $((SECONDS - start)) s: it was not held"
echo "scraped again after $((SECONDS - start)) s"
[[ $(property MainPID) != "$pid" ]] || fail "it is still the old process: nothing was noticed"
above ina260_results_total "$((results - 1))" || fail "results fell from $results to $(metric ina260_results_total)"
wait_until 10 shows ina260_voltage 12
journal
journal_of_systemd
lines=$(journal | wc --lines)
((lines < 40)) || fail "$lines lines in the journal"
[[ $(journal_of_systemd) == *"status=1/FAILURE"* ]] || fail "it did not end by itself with 1"
