#!/bin/bash
# A bus whose transfers all time out, as with a data line held low: sixteen sensors are down, the service stays up and answers,
# a stop does not wait for them, and they are all back when the bus is.
# seconds: 400
# on one release
. scenarios/lib.sh

# every FILE VALUE: of all sixteen chips
every() {
    local address
    for address in {64..79}; do
        chip=$(printf '1/0x%x' "$address") chip "$1" "$2"
    done
}
up() {
    local lines
    lines=$(series ina260_up) && [[ $(grep --count " $1$" <<<"$lines") == 16 ]]
}

sensors=()
for address in {64..79}; do
    sensors+=('[[sensor]]' "device = \"s$address\"" "address = $address")
done
every plugged 1
every voltage 0x2580
configure 'summary = "0"' "${sensors[@]}"
systemctl enable --quiet --now "$service"
wait_until 30 up 1
wait_until 10 shows ina260_voltage 12 'device="s79"'
mark_journal

every delay_us 1000000
every errno 110
wait_until 40 up 0
wait_until 10 lacks ina260_voltage
for_seconds 60 up 0
expect "restarts" 0 "$(property NRestarts)"
lines=$(journal | wc --lines)
((lines <= 18)) || fail "$lines lines in the journal: $(journal)"

every errno 0
every delay_us 0
wait_until 60 up 1
wait_until 10 shows ina260_voltage 12 'device="s64"'
expect "restarts" 0 "$(property NRestarts)"
journal

every delay_us 1000000
every errno 110
sleep 10
start=$SECONDS
systemctl stop "$service"
((SECONDS - start <= 6)) || fail "stopped after $((SECONDS - start)) s"
expect "how it ended" success "$(property Result)"
