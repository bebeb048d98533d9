#!/bin/bash
# `systemctl status` shows the latest result, and messages have the expected journal priorities.
. scenarios/lib.sh
start_service

status() {
    systemctl status --no-pager --lines=0 "$service" | sed -n 's/^ *Status: //p'
}
status_has() {
    [[ $(status) == *"$1"* ]]
}
status
wait_until 10 status_has deepx
wait_until 10 status_has 12
set_load 0x2260 0xfce0
wait_until 10 status_has 11
wait_until 10 status_has -1
status

# Without a fault there are messages at info, none above, and no duplicates.
expect "messages above info" "" "$(journal --priority=0..5)"
[[ $(journal --priority=6..6) == *deepx* ]] ||
    fail "no message about the sensor at info: $(journal)"
expect "duplicate messages" "" "$(journal | sort | uniq --repeated)"
expect "messages at debug" "" "$(journal --priority=7..7)"

# A sensor that does not respond is a warning.
mark_journal
chip plugged 0
wait_until 10 shows ina260_up 0
[[ $(journal --priority=3..4) == *"sensor deepx (bus 1, 0x40)"*"errno 121"* ]] ||
    fail "no warning about the outage: $(journal)"
