#!/bin/bash
# If the disk is full when the service stops, it logs one error and exits with 0; the next start
# counts from 0.
. scenarios/lib.sh
state=/var/lib/ina260-exporter
start_service 'interval = "100ms"'
systemctl stop "$service"
[[ -s $state/totals ]] || fail "no saved counters after a stop"

# Writable at start-up, which removes the saved counters; full at shutdown.
mount --types tmpfs --options size=16k,mode=0755 tmpfs "$(realpath "$state")"
systemctl start "$service"
wait_until 20 above ina260_measured_seconds_total 5
dd if=/dev/zero of="$state/fill" bs=4k status=none 2>/dev/null || true
mark_journal
systemctl stop "$service"
property_is Result success || fail "the service failed: $(journal_of_systemd)"
expect "exit code" 0 "$(property ExecMainStatus)"
errors=$(journal --priority=err)
expect "errors in the journal" 1 "$(grep --count . <<<"$errors")"
[[ $errors == *"cannot save counters"* ]] || fail "the error is: $errors"

mark_journal
systemctl start "$service"
wait_until 20 shows ina260_voltage 12
(($(metric ina260_measured_seconds_total) < 5)) || fail "the counters do not start from 0"
