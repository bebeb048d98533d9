#!/bin/bash
# Two chips at one address behind a multiplexer: each shows its own voltage, also when somebody else switches; nothing is left open.
# on one release
. scenarios/lib.sh
# Many looks in a row at one sensor: between two of these, the multiplexer is not told its channel again.
configure '[[sensor]]' 'device = "orin"' 'mux = { address = 0x70, channel = 0 }' 'interval = "50ms"' \
    '[[sensor]]' 'device = "disks"' 'mux = { address = 0x70, channel = 3 }'
chip plugged 0
for channel in 0 1 3; do
    chip=1/mux/$channel chip plugged 1
done
chip=1/mux/0 sees 0x2580 0x0320
chip=1/mux/1 sees 0x1f40 0x0320
chip=1/mux/3 sees 0x0fa0 0x0320

control() {
    chip=1/mux chip control "$@"
}

# its_own DEVICE VOLTS: and so is every result of the last minute
its_own() {
    local name
    for name in volts volts_min volts_max; do
        shows "ina260_bus_voltage_$name" "$2" "device=\"$1\"" || return 1
    done
}
both() {
    its_own orin 12 && its_own disks 5
}

chip=1/mux chip plugged 1
control 0xff # as a crashed program leaves it
systemctl enable --quiet --now "$service"
wait_until 20 both
expect "chips opened that nobody asked for" 0 "$(chip=1/mux/1 chip configured)"
series ina260_sensor_info 'device="disks"' 'mux="0x70:3"' 'address="0x40"'
for_seconds 10 both

# Somebody else opens another channel.
expect "mux errors" 0 "$(metric ina260_read_errors_total 'device="orin"' 'kind="mux"')"
for _ in {1..20}; do
    control 0x02
    sleep 0.25
    control 0x08
    sleep 0.25
done
wait_until 60 both
above ina260_read_errors_total 0 'device="orin"' 'kind="mux"' ||
    above ina260_read_errors_total 0 'device="disks"' 'kind="mux"' || fail "nobody noticed"
expect "writes to the wrong chip" 0 "$(chip=1/mux/1 chip configured)"

# One behind a channel that dies, and the multiplexer itself.
chip=1/mux/3 chip plugged 0
wait_until 15 shows ina260_up 0 'device="disks"'
for_seconds 10 its_own orin 12
chip=1/mux/3 chip plugged 1
wait_until 45 both
chip=1/mux chip plugged 0
wait_until 15 shows ina260_up 0 'device="orin"'
wait_until 15 shows ina260_up 0 'device="disks"'
chip=1/mux chip plugged 1
wait_until 60 both

systemctl stop "$service"
expect "control register after the stop" 0 "$(($(control)))"
