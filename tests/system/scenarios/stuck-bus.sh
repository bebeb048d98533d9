#!/bin/bash
# When all transfers of a bus time out, as with a data line held low, its sixteen sensors are down,
# the service keeps running and serving, and a stop does not wait for transfers. All sensors are up
# again once the bus recovers.
# seconds: 400
# on one release
. scenarios/lib.sh

# all_chips FILE VALUE: writes a control file of all sixteen chips.
all_chips() {
    local address
    for address in {64..79}; do
        chip=$(printf '1/0x%x' "$address") chip "$1" "$2"
    done
}
# all_up VALUE: returns whether `ina260_up` of all sixteen sensors has this value.
all_up() {
    local lines
    lines=$(series ina260_up) && [[ $(grep --count " $1$" <<<"$lines") == 16 ]]
}
is_locked() {
    ! flock --nonblock /run/ina260-exporter/bus-1.lock true
}

sensors=()
for address in {64..79}; do
    sensors+=('[[sensor]]' "device = \"s$address\"" "address = $address")
done
all_chips plugged 1
all_chips voltage 0x2580
configure 'summary = "0"' "${sensors[@]}"
systemctl enable --quiet --now "$service"
wait_until 30 all_up 1
wait_until 10 shows ina260_voltage 12 'device="s79"'
mark_journal

all_chips delay_us 1000000
all_chips errno 110
wait_until 40 all_up 0
wait_until 10 lacks ina260_voltage
# The device is closed between two attempts, but no other process may lock the bus.
holds_for 20 is_locked
holds_for 60 all_up 0
expect "restarts" 0 "$(property NRestarts)"
lines=$(journal | wc --lines)
((lines <= 18)) || fail "$lines log lines: $(journal)"

all_chips errno 0
all_chips delay_us 0
wait_until 60 all_up 1
wait_until 10 shows ina260_voltage 12 'device="s64"'
expect "restarts" 0 "$(property NRestarts)"
journal

all_chips delay_us 1000000
all_chips errno 110
sleep 10
start=$SECONDS
systemctl stop "$service"
((SECONDS - start <= 6)) || fail "stopped after $((SECONDS - start)) s"
expect "result of the service" success "$(property Result)"
