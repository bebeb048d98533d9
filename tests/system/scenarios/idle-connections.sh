#!/bin/bash
# Clients that hold connections neither disturb the measurement nor keep others from scraping: 512
# idle ones, unfinished headers, and pipelined requests whose responses are not read, 120 s each.
# on one release
# seconds: 900
. scenarios/lib.sh
cgroup=/sys/fs/cgroup/system.slice/$service.service
start_service
wait_until 20 above ina260_results_total 9
pid=$(property MainPID)
mark_journal

# attack PAYLOAD PATIENCE: 512 clients connect, send PAYLOAD, hold the connection for at most
# PATIENCE seconds unless it is closed, and connect again.
attack() {
    local payload=$1 patience=$2 client
    trap '' PIPE
    for _ in {1..512}; do
        while :; do
            if exec {client}<>/dev/tcp/127.0.0.1/8000; then
                printf %s "$payload" >&"$client"
                # A client that is not to read waits for input that does not come.
                read -r -t "$patience" -u "$((patience < 60 ? quiet : client))" || true
                exec {client}>&-
            fi
        done &
    done
    wait
}
mkfifo /run/quiet
exec {quiet}<>/run/quiet

# Fails unless honest scrapes succeed, never more than 30 s apart, for 120 s.
scrape_for_two_minutes() {
    local end=$((SECONDS + 120)) last=$SECONDS count=0
    while ((SECONDS < end)); do
        if scrape >/dev/null 2>&1; then
            last=$SECONDS
            ((count += 1))
        fi
        ((SECONDS - last <= 30)) || fail "no scrape for 30 s"
        sleep 0.2
    done
    echo "$count scrapes"
}

# part NAME PAYLOAD PATIENCE
part() {
    local name=$1 cpu attackers
    wait_until 30 scrape
    cpu=$(metric process_cpu_seconds_total)
    set -m
    attack "${@:2}" 2>/dev/null &
    attackers=$!
    set +m
    sleep 2
    scrape_for_two_minutes
    kill -KILL -- "-$attackers"
    wait_until 10 scrape
    echo "$name: CPU $cpu s to $(metric process_cpu_seconds_total) s," \
        "memory $(cat "$cgroup/memory.peak"), $(tr '\n' ' ' <"$cgroup/memory.events")"
}

printf -v header 'GET /metrics HTTP/1.1\r\nX: %0400000d' 0
printf -v request 'GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n'
printf -v requests "%0.s$request" {1..400}
measured=$(metric ina260_measured_seconds_total)
unmeasured=$(metric ina260_unmeasured_seconds_total)
part idle "" 120
part header "$header" 120
part pipeline "$requests" 10

expect "process" "$pid" "$(property MainPID)"
events=$(cat "$cgroup/memory.events")
[[ $events == *"oom_kill 0"* ]] || fail "memory: $events"
measured=$(($(metric ina260_measured_seconds_total) - measured))
unmeasured=$(($(metric ina260_unmeasured_seconds_total) - unmeasured))
echo "measured $measured s, not measured $unmeasured s"
((unmeasured * 1000 <= measured)) || fail "measured $measured s, not measured $unmeasured s"
above ina260_exporter_listener_restarts_total 0 'cause="connections"' || fail "no restart counted"
wait_until 60 logged "the HTTP listener at 0.0.0.0:8000 is responding"
journal
lines=$(journal | wc --lines)
((lines < 40)) || fail "$lines lines in the journal"
