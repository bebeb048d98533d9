#!/bin/bash
# A start with a bad file ends with 78, all problems named, once: trying again could not help.
. scenarios/lib.sh
begin

mark_journal
configure 'address = 0x50' 'port = "eight"'
refuses systemctl restart "$service"
expect "exit code" 78 "$(property ExecMainStatus)"
journal
logged 0x50
expect "messages of it" 1 "$(journal | grep --count 0x50)"
expect "messages at error" 1 "$(journal --priority=3 | grep --count 0x50)"
# RestartSec is 10 s.
for_seconds 15 is ActiveState failed
expect "restarts" 0 "$(property NRestarts)"

configure 'device = "orin"'
systemctl restart "$service"
wait_until 10 shows ina260_voltage 12 'device="orin"'
