#!/bin/bash
# A full disk at a stop: one error in the journal, exit 0, and the next start counts from 0.
. scenarios/lib.sh
state=/var/lib/ina260-exporter
begin 'interval = "100ms"'
systemctl stop "$service"
[[ -s $state/totals ]] || fail "no state file after a stop"

# Whole for the start, which takes what the last run left; full at the stop.
mount --types tmpfs --options size=16k,mode=0755 tmpfs "$(realpath "$state")"
systemctl start "$service"
wait_until 20 above ina260_measured_seconds_total 5
dd if=/dev/zero of="$state/fill" bs=4k status=none 2>/dev/null || true
mark_journal
systemctl stop "$service"
is Result success || fail "it did not end well: $(journal_of_systemd)"
expect "exit code" 0 "$(property ExecMainStatus)"
errors=$(journal --priority=err)
expect "errors in the journal" 1 "$(grep --count . <<<"$errors")"
[[ $errors == *"cannot save counters"* ]] || fail "the error is: $errors"

mark_journal
systemctl start "$service"
wait_until 20 shows ina260_voltage 12
(($(metric ina260_measured_seconds_total) < 5)) || fail "not from 0"
