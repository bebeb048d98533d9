#!/bin/bash
# Without tasks for its threads, or without descriptors, the daemon does not start, and loses no
# counters; once it runs, it needs no more tasks to serve scrapes.
# on one release
. scenarios/lib.sh
start_service
wait_until 30 above ina260_results_total 14
results=$(metric ina260_results_total)
systemctl stop "$service"

# limit TASKS
limit() {
    systemctl set-property --runtime "$service" "TasksMax=$1"
}
failed=0
for tasks in {2..20}; do
    limit "$tasks"
    systemctl reset-failed "$service"
    if systemctl start "$service"; then
        break
    fi
    ((failed += 1))
    systemctl stop "$service"
    grep --quiet results /var/lib/ina260-exporter/totals || fail "no counters with $tasks tasks"
done
echo "starts with $tasks tasks"
((failed > 3)) || fail "it started with $tasks tasks"
above ina260_results_total "$((results - 1))" || fail "counters were lost"

# No task is left; runtimes end idle threads after 10 s.
pid=$(property MainPID)
tasks=("/proc/$pid/task/"*)
limit "${#tasks[@]}"
for _ in {1..3}; do
    sleep 12
    scrape >/dev/null
done
expect "process" "$pid" "$(property MainPID)"

# Nor does the process end if there are no tasks for connections that replace held ones.
limit "$((${#tasks[@]} - 2))"
clients=()
for _ in {1..60}; do
    exec {client}<>/dev/tcp/127.0.0.1/8000
    clients+=("$client")
done
sleep 5
expect "process" "$pid" "$(property MainPID)"
for client in "${clients[@]}"; do
    exec {client}>&-
done
limit 192
wait_until 60 scrape
expect "process" "$pid" "$(property MainPID)"

# Nor are counters lost without descriptors.
systemctl stop "$service"
state=/var/lib/ina260-exporter/totals
mkdir few
failed=0
for descriptors in {6..40}; do
    cp "$state" few/totals
    code=0
    (
        ulimit -n "$descriptors"
        STATE_DIRECTORY=$PWD/few exec timeout 10 ina260-exporter --listen 127.0.0.1:8001
    ) || code=$?
    grep --quiet '"results": [1-9]' few/totals ||
        fail "no counters with $descriptors descriptors: $(cat few/totals)"
    # timeout(1) ended it.
    ((code != 124)) || break
    ((failed += 1))
done
echo "starts with $descriptors descriptors"
((failed > 3)) || fail "it started with $descriptors descriptors"
