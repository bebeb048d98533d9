#!/bin/bash
# A transfer that does not come back: no keep-alive for systemd, hence a restart, and all is well when the bus is.
# seconds: 400
. scenarios/lib.sh
begin
pid=$(property MainPID)
mark_journal
start=$SECONDS
chip hang Y
wait_until 120 eval "! kill -0 $pid"
echo "ended after $((SECONDS - start)) s"
((SECONDS - start >= 25)) || fail "too soon for the watchdog"
journal_of_systemd
[[ $(journal_of_systemd) == *"Watchdog timeout"* ]] || fail "it was not the watchdog"

chip hang N
wait_until 60 shows ina260_voltage 12
((SECONDS - start < 240)) || fail "back after $((SECONDS - start)) s only"
is NRestarts 1

# Whoever stops the service does not wait for the transfer.
chip hang Y
sleep 3
start=$SECONDS
systemctl stop "$service"
((SECONDS - start <= 6)) || fail "stopped after $((SECONDS - start)) s"
expect "how it ended" success "$(property Result)"
