#!/bin/bash
# A process that no longer runs, here because it was stopped, is ended by the watchdog and started again.
. scenarios/lib.sh
begin
pid=$(property MainPID)
mark_journal
kill -STOP "$pid"
wait_until 90 eval "! kill -0 $pid"
journal_of_systemd
[[ $(journal_of_systemd) == *"Watchdog timeout"* ]] || fail "it was not the watchdog"
wait_until 40 shows ina260_voltage 12
is NRestarts 1
