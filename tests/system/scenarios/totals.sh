#!/bin/bash
# Counters go on over a restart, a downgrade and an upgrade, begin at 0 after kill -9, and never go back to an old value.
# seconds: 600
. scenarios/lib.sh
state=/var/lib/ina260-exporter
begin 'interval = "100ms"'
chip power_on 1 # something in a counter that does not grow by itself
wait_until 20 shows ina260_resets_total 1 'cause="brown-out"'

# totals: NAME{LABELS} VALUE of all counters of the sensor
totals() {
    scrape | grep --extended-regexp '^ina260_[a-z_]+_total\{'
}

# have_not_fallen FILE: since the scrape in it
have_not_fallen() {
    local series before now
    while read -r series before; do
        now=$(grep --fixed-strings -- "$series " <<<"$totals") || fail "$series is gone"
        ((${now##* } >= before)) || fail "$series fell from $before to ${now##* }"
    done <"$1"
}

# goes_on COMMAND...: over this, which restarts the service
goes_on() {
    local pid
    pid=$(property MainPID)
    wait_until 30 above ina260_measured_seconds_total "$(($(metric ina260_measured_seconds_total) + 5))"
    totals >before
    "$@"
    [[ $(property MainPID) != "$pid" ]] || fail "the service was not restarted"
    totals=$(totals)
    have_not_fallen before
    expect "brown-outs" 1 "$(metric ina260_resets_total 'cause="brown-out"')"
    [[ ! -e $state/totals ]] || fail "the state file is there while the service runs"
    wait_until 20 shows ina260_voltage 12
}

# measures_for SECONDS
measures_for() {
    wait_until 60 above ina260_measured_seconds_total "$1"
}

# is_back_from_0 SECONDS: the counters are below those of so many seconds
is_back_from_0() {
    wait_until 40 shows ina260_voltage 12
    (($(metric ina260_measured_seconds_total) < $1)) || fail "not from 0: $(totals)"
    (($(metric ina260_energy_joules_total 'direction="forward"') < $1 * 12)) || fail "not from 0: $(totals)"
    expect "brown-outs" 0 "$(metric ina260_resets_total 'cause="brown-out"')"
}

[[ ! -e $state/totals ]] || fail "the state file is there while the service runs"
goes_on systemctl restart "$service"
goes_on systemctl restart "$service"

older=$(bash package/older "$package" .)
goes_on install_package "$older"
goes_on install_package "$package"

# A whole stop: the file is there until the start.
systemctl stop "$service"
[[ -s $state/totals ]] || fail "no state file after a stop"
systemctl start "$service"
[[ ! -e $state/totals ]] || fail "the state file is still there"
wait_until 20 shows ina260_voltage 12
totals=$(totals)
have_not_fallen before

measures_for 30
systemctl kill --signal=KILL "$service"
is_back_from_0 30
[[ ! -e $state/totals ]] || fail "a state file after kill -9"

# From here it goes on as from any beginning, and a file that is not whole is kept, but not believed.
chip power_on 1
wait_until 20 shows ina260_resets_total 1 'cause="brown-out"'
goes_on systemctl restart "$service"
measures_for 30
systemctl stop "$service"
cp "$state/totals" whole
truncate --size=-4 "$state/totals"
cp "$state/totals" broken
mark_journal
systemctl start "$service"
is_back_from_0 30
cmp broken "$state/totals.refused"
[[ ! -e $state/totals ]] || fail "the broken state file is still there"
[[ $(journal --priority=warning) == *"cannot restore saved counters"*"kept as $state/totals.refused"* ]] ||
    fail "no warning in the journal: $(journal)"

# Nor is another machine's.
systemctl stop "$service"
sed 's/^machine .*/machine 0123456789abcdef0123456789abcdef/' whole >"$state/totals"
mark_journal
systemctl start "$service"
is_back_from_0 30
logged "cannot restore saved counters" || fail "no warning in the journal: $(journal)"
