#!/bin/bash
# A process that is stopped by a signal is restarted by the watchdog.
. scenarios/lib.sh
start_service
pid=$(property MainPID)
mark_journal
kill -STOP "$pid"
wait_until 90 eval "! kill -0 $pid"
journal_of_systemd
[[ $(journal_of_systemd) == *"Watchdog timeout"* ]] || fail "not ended by the watchdog"
wait_until 40 shows ina260_voltage 12
property_is NRestarts 1
