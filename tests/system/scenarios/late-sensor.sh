#!/bin/bash
# No sensor at the start: the service waits and says so in a scrape, and finds it when it comes.
# on one release
. scenarios/lib.sh
sees 0x2580 0x0320
chip plugged 0

systemctl enable --quiet --now "$service"
pid=$(property MainPID)
wait_until 10 shows ina260_up 0 'device="deepx"'
lacks ina260_voltage || fail "readings of a sensor that is not there"
for_seconds 60 shows ina260_up 0
expect "state" active "$(property ActiveState)"
((($(journal | grep --count 'deepx')) <= 3)) || fail "a flood: $(journal)"

chip plugged 1
wait_until 45 shows ina260_voltage 12
expect "up" 1 "$(metric ina260_up)"
expect "main process" "$pid" "$(property MainPID)"
