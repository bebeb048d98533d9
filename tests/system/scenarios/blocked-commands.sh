#!/bin/bash
# A signal ends `scan` and `read` at once, even while a transfer does not return.
# on one release
. scenarios/lib.sh
chip=1/mux chip plugged 1
chip=1/mux chip control 0x10
chip hang Y
# Returns whether a transfer has begun.
is_blocked() {
    (($(chip transfers) > transfers))
}
for command in scan 'scan --mux' read 'read --follow' 'watch --direct'; do
    for signal in INT TERM; do
        echo "$command: $signal"
        # `watch` needs a terminal. The shell makes its background jobs ignore SIGINT.
        transfers=$(chip transfers)
        script --quiet --command "exec env --default-signal=INT ina260-exporter $command" \
            /dev/null >/dev/null </dev/null &
        wait_until 20 is_blocked
        pkill --signal "$signal" --exact ina260-exporter
        wait_until 5 eval "! pgrep --exact ina260-exporter"
        wait $! || true
    done
done
chip hang N

# A signal between two transfers: the mux is restored.
for address in {64..79}; do
    chip=$(printf '1/0x%x' "$address") chip delay_us 30000
done
ina260-exporter scan --mux >/dev/null &
sleep 2
kill -TERM $!
code=0
wait $! || code=$?
expect "exit code of an interrupted scan" 1 "$code"
expect "control" 0x10 "$(printf '0x%02x' "$(chip=1/mux chip control)")"
