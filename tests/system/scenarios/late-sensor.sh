#!/bin/bash
# Without a sensor at start-up, the service shows it as down and keeps retrying until it responds.
# on one release
. scenarios/lib.sh
set_load 0x2580 0x0320
chip plugged 0

systemctl enable --quiet --now "$service"
pid=$(property MainPID)
wait_until 10 shows ina260_up 0 'device="deepx"'
lacks ina260_voltage || fail "readings of a sensor that does not respond"
holds_for 60 shows ina260_up 0
expect "state" active "$(property ActiveState)"
((($(journal | grep --count 'deepx')) <= 3)) || fail "too many messages: $(journal)"

chip plugged 1
wait_until 45 shows ina260_voltage 12
expect "up" 1 "$(metric ina260_up)"
expect "main process" "$pid" "$(property MainPID)"
