#!/bin/bash
# Clients that hold connections neither disturb the measurement nor keep others from scraping: idle
# ones, unfinished headers, and pipelined requests whose responses are not read, 120 s each.
# on one release
# seconds: 900
. scenarios/lib.sh
cgroup=/sys/fs/cgroup/system.slice/$service.service
start_service
wait_until 20 above ina260_results_total 9
pid=$(property MainPID)
mark_journal

# attack CLIENTS FILE SECONDS: starts this number of clients. Each connects, sends FILE, holds the
# connection for at most SECONDS, and connects again after a second.
attack() {
    local clients=$1 file=$2 seconds=$3 client
    trap '' PIPE
    while ((clients-- > 0)); do
        while read -r -t 1 -u "$quiet" || :; do
            if exec {client}<>/dev/tcp/127.0.0.1/8000; then
                [[ ! -s $file ]] || cat "$file" >&"$client"
                # A client that must not read the response waits on a FIFO without input.
                read -r -t "$seconds" -u "$((seconds < 60 ? quiet : client))" || true
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

# part NAME CLIENTS SECONDS: NAME is also the file that is sent.
part() {
    local name=$1 cpu attackers
    wait_until 30 scrape
    cpu=$(metric process_cpu_seconds_total)
    set -m
    attack "$2" "$name" "$3" 2>/dev/null &
    attackers=$!
    set +m
    sleep 2
    scrape_for_two_minutes
    kill -KILL -- "-$attackers"
    wait_until 10 scrape
    echo "$name: CPU $cpu s to $(metric process_cpu_seconds_total) s," \
        "memory $(cat "$cgroup/memory.peak"), $(tr '\n' ' ' <"$cgroup/memory.events")"
}

# The buffers of all clients are in the memory of the same small machine.
: >idle
printf 'GET /metrics HTTP/1.1\r\nX: %0400000d' 0 >header
printf 'GET /metrics HTTP/1.1\r\nHost: localhost\r\n%0.s\r\n' {1..400} >pipeline
measured=$(metric ina260_measured_seconds_total)
unmeasured=$(metric ina260_unmeasured_seconds_total)
part idle 512 120
part header 300 120
# With more of these clients, this slow machine would drop scrapes as well for half a minute.
part pipeline 128 10

expect "process" "$pid" "$(property MainPID)"
events=$(cat "$cgroup/memory.events")
# MemoryHigh would slow down measuring.
[[ $events == *"high 0"* && $events == *"oom_kill 0"* ]] || fail "memory: $events"
measured=$(($(metric ina260_measured_seconds_total) - measured))
unmeasured=$(($(metric ina260_unmeasured_seconds_total) - unmeasured))
echo "measured $measured s, not measured $unmeasured s"
# Both are whole seconds: one second may be due to rounding.
(((unmeasured - 1) * 1000 <= measured)) || fail "measured $measured s, not measured $unmeasured s"
above ina260_exporter_listener_restarts_total 0 'cause="connections"' || fail "no restart counted"
wait_until 60 logged "the HTTP listener at 0.0.0.0:8000 is responding"
journal
lines=$(journal | wc --lines)
((lines < 40)) || fail "$lines lines in the journal"
