#!/bin/bash
# A thousand idle client connections block the listener. The daemon detects it, exits and is
# restarted, keeps its counters and does not flood the journal.
# on one release
. scenarios/lib.sh
start_service
wait_until 20 above ina260_results_total 9
pid=$(property MainPID)
mark_journal

# Opens connections until the daemon is out of file descriptors and the kernel's queue is full. The
# next one blocks, and is reset when the daemon exits.
hold_connections() {
    local connection
    ulimit -n 4096
    for _ in {1..1000}; do
        # shellcheck disable=SC2034 # kept open
        exec {connection}<>/dev/tcp/127.0.0.1/8000 || break
    done
    sleep infinity
}
results=$(metric ina260_results_total)
hold_connections 2>/dev/null &
wait_until 60 eval "! scrape"
echo "$(ss --no-header --numeric state established '( dport = :8000 )' | wc --lines) connections"

start=$SECONDS
wait_until 90 scrape
((SECONDS - start >= 10)) || fail "scraped again after $((SECONDS - start)) s: it was not blocked"
echo "scraped again after $((SECONDS - start)) s"
[[ $(property MainPID) != "$pid" ]] || fail "the daemon did not exit"
above ina260_results_total "$((results - 1))" ||
    fail "results fell from $results to $(metric ina260_results_total)"
wait_until 10 shows ina260_voltage 12
journal
journal_of_systemd
lines=$(journal | wc --lines)
((lines < 40)) || fail "$lines lines in the journal"
[[ $(journal_of_systemd) == *"status=1/FAILURE"* ]] || fail "the daemon did not exit with 1"
