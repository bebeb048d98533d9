#!/bin/bash
# Without tasks for its threads the daemon does not start, and loses no counters; once it runs, it
# needs no more of them to serve scrapes.
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
