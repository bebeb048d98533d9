#!/bin/bash
# What `systemctl status` and the journal tell: the latest result, and each message with the priority that a person expects.
. scenarios/lib.sh
begin

status() {
    systemctl status --no-pager --lines=0 "$service" | sed -n 's/^ *Status: //p'
}
status_has() {
    [[ $(status) == *"$1"* ]]
}
status
wait_until 10 status_has deepx
wait_until 10 status_has 12
sees 0x2260 0xfce0
wait_until 10 status_has 11
wait_until 10 status_has -1
status

# At info there is something, nothing is more urgent while all is well, and nothing is there twice.
expect "messages above info" "" "$(journal --priority=0..5)"
[[ $(journal --priority=6..6) == *deepx* ]] || fail "no message of the sensor at info: $(journal)"
expect "messages that are there twice" "" "$(journal | sort | uniq --repeated)"
expect "results at info" "" "$(journal --priority=7..7)"

# A lost sensor is a warning.
mark_journal
chip plugged 0
wait_until 10 shows ina260_up 0
[[ $(journal --priority=3..4) == *"sensor deepx (bus 1, 0x40)"*"errno 121"* ]] || fail "no warning of the outage: $(journal)"
