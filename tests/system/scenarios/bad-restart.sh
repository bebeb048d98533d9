#!/bin/bash
# A start with an invalid configuration exits with 78, logs every error once, and is not retried.
. scenarios/lib.sh
start_service

mark_journal
configure 'address = 0x50' 'port = "eight"'
must_fail systemctl restart "$service"
expect "exit code" 78 "$(property ExecMainStatus)"
journal
logged 0x50
expect "messages about the address" 1 "$(journal | grep --count 0x50)"
expect "messages about the address at priority err" 1 "$(journal --priority=3 | grep --count 0x50)"
# RestartSec is 10 s.
holds_for 15 property_is ActiveState failed
expect "restarts" 0 "$(property NRestarts)"

configure 'device = "orin"'
systemctl restart "$service"
wait_until 10 shows ina260_voltage 12 'device="orin"'
