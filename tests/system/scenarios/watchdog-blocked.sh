#!/bin/bash
# A blocked transfer stops the watchdog keep-alives; systemd restarts the service, which recovers
# with the bus.
# seconds: 400
. scenarios/lib.sh
start_service
pid=$(property MainPID)
mark_journal
start=$SECONDS
chip hang Y
wait_until 120 eval "! kill -0 $pid"
echo "the process ended after $((SECONDS - start)) s"
((SECONDS - start >= 25)) || fail "ended before the watchdog timeout"
journal_of_systemd
[[ $(journal_of_systemd) == *"Watchdog timeout"* ]] || fail "not ended by the watchdog"

chip hang N
wait_until 60 shows ina260_voltage 12
((SECONDS - start < 240)) || fail "restarted only after $((SECONDS - start)) s"
property_is NRestarts 1

# Stopping the service does not wait for the transfer.
chip hang Y
sleep 3
start=$SECONDS
systemctl stop "$service"
((SECONDS - start <= 6)) || fail "stopped after $((SECONDS - start)) s"
expect "result of the service" success "$(property Result)"
