#!/bin/bash
# Counters survive a restart, a downgrade and an upgrade, start from 0 after kill -9, and never
# return to an old value.
# seconds: 600
. scenarios/lib.sh
state=/var/lib/ina260-exporter
start_service 'interval = "100ms"'
chip power_on 1 # for a counter that does not grow by itself
wait_until 20 shows ina260_resets_total 1 'cause="brown-out"'

# Prints NAME{LABELS} VALUE of all counters of the sensor.
counters() {
    scrape | grep --extended-regexp '^ina260_[a-z_]+_total\{'
}

# none_decreased FILE: compares $counters with an earlier output of `counters`.
none_decreased() {
    local series before now
    while read -r series before; do
        now=$(grep --fixed-strings -- "$series " <<<"$counters") || fail "$series is missing"
        ((${now##* } >= before)) || fail "$series fell from $before to ${now##* }"
    done <"$1"
}

# survive COMMAND...: runs COMMAND, which must restart the service, and compares the counters.
survive() {
    local pid seconds
    pid=$(property MainPID)
    seconds=$(metric ina260_measured_seconds_total)
    wait_until 30 above ina260_measured_seconds_total $((seconds + 5))
    counters >before
    "$@"
    [[ $(property MainPID) != "$pid" ]] || fail "the service was not restarted"
    counters=$(counters)
    none_decreased before
    expect "brown-outs" 1 "$(metric ina260_resets_total 'cause="brown-out"')"
    [[ ! -e $state/totals ]] || fail "the state file exists while the service runs"
    wait_until 20 shows ina260_voltage 12
}

# measured_for SECONDS: waits until the sensor was measured for this time.
measured_for() {
    wait_until 60 above ina260_measured_seconds_total "$1"
}

# started_from_0 SECONDS: fails unless the counters are below those of this time.
started_from_0() {
    wait_until 40 shows ina260_voltage 12
    (($(metric ina260_measured_seconds_total) < $1)) || fail "not from 0: $(counters)"
    (($(metric ina260_energy_joules_total 'direction="forward"') < $1 * 12)) ||
        fail "not from 0: $(counters)"
    expect "brown-outs" 0 "$(metric ina260_resets_total 'cause="brown-out"')"
}

[[ ! -e $state/totals ]] || fail "the state file exists while the service runs"
survive systemctl restart "$service"
survive systemctl restart "$service"

older=$(bash package/older "$package" .)
survive install_package "$older"
survive install_package "$package"

# After a stop the state file exists until the next start.
systemctl stop "$service"
[[ -s $state/totals ]] || fail "no state file after a stop"
systemctl start "$service"
[[ ! -e $state/totals ]] || fail "the state file still exists"
wait_until 20 shows ina260_voltage 12
counters=$(counters)
none_decreased before

measured_for 30
systemctl kill --signal=KILL "$service"
started_from_0 30
[[ ! -e $state/totals ]] || fail "a state file after kill -9"

# Counters are saved again from here. A truncated state file is renamed and not restored.
chip power_on 1
wait_until 20 shows ina260_resets_total 1 'cause="brown-out"'
survive systemctl restart "$service"
measured_for 30
systemctl stop "$service"
cp "$state/totals" whole
truncate --size=-4 "$state/totals"
cp "$state/totals" broken
mark_journal
systemctl start "$service"
started_from_0 30
cmp broken "$state/totals.refused"
[[ ! -e $state/totals ]] || fail "the truncated state file still exists"
warnings=$(journal --priority=warning)
[[ $warnings == *"cannot restore saved counters"*"kept as $state/totals.refused"* ]] ||
    fail "no warning in the journal: $(journal)"

# Neither is a state file that was edited, here to move it to another machine.
systemctl stop "$service"
sed 's/"machine": .*/"machine": "0123456789abcdef0123456789abcdef",/' whole >"$state/totals"
! cmp --quiet whole "$state/totals" || fail "the machine's ID is not in the state file"
mark_journal
systemctl start "$service"
started_from_0 30
logged "cannot restore saved counters" || fail "no warning in the journal: $(journal)"

# The documented command sets all counters to 0.
measured_for 30
command=$(sed -n 's/^ *sudo \(sh -c .*systemctl clean.*\)$/\1/p' \
    "/usr/share/doc/$service/docs/metrics.md")
[[ $command ]] || fail "no command in metrics.md"
eval "$command"
started_from_0 30
