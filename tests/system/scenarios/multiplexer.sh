#!/bin/bash
# Two sensors share an address on different channels of a mux. Each shows its own voltage, even
# while another master switches channels; no channel is left selected.
# on one release
. scenarios/lib.sh
# One sensor is polled many times in a row: its channel is not selected again in between.
configure \
    '[[sensor]]' 'device = "orin"' 'mux = { address = 0x70, channel = 0 }' 'interval = "50ms"' \
    '[[sensor]]' 'device = "disks"' 'mux = { address = 0x70, channel = 3 }'
chip plugged 0
for channel in 0 1 3; do
    chip=1/mux/$channel chip plugged 1
done
chip=1/mux/0 set_load 0x2580 0x0320
chip=1/mux/1 set_load 0x1f40 0x0320
chip=1/mux/3 set_load 0x0fa0 0x0320

control() {
    chip=1/mux chip control "$@"
}

# voltage_is DEVICE VOLTS: returns whether every result of the last minute shows this voltage.
voltage_is() {
    local name
    for name in volts min_volts max_volts; do
        shows "ina260_bus_voltage_$name" "$2" "device=\"$1\"" || return 1
    done
}
both() {
    voltage_is orin 12 && voltage_is disks 5
}

chip=1/mux chip plugged 1
control 0xff # as left by a program that crashed
systemctl enable --quiet --now "$service"
wait_until 20 both
expect "configuration writes on an unused channel" 0 "$(chip=1/mux/1 chip configured)"
series ina260_sensor_info 'device="disks"' 'mux="0x70:3"' 'address="0x40"'
holds_for 10 both

# Another master selects other channels.
expect "mux errors" 0 "$(metric ina260_read_errors_total 'device="orin"' 'kind="mux"')"
for _ in {1..20}; do
    control 0x02
    sleep 0.25
    control 0x08
    sleep 0.25
done
wait_until 60 both
above ina260_read_errors_total 0 'device="orin"' 'kind="mux"' ||
    above ina260_read_errors_total 0 'device="disks"' 'kind="mux"' ||
    fail "the channel changes were not detected"
expect "configuration writes on the wrong channel" 0 "$(chip=1/mux/1 chip configured)"

# A sensor on one channel fails, then the mux itself.
chip=1/mux/3 chip plugged 0
wait_until 15 shows ina260_up 0 'device="disks"'
holds_for 10 voltage_is orin 12
chip=1/mux/3 chip plugged 1
wait_until 45 both
chip=1/mux chip plugged 0
wait_until 15 shows ina260_up 0 'device="orin"'
wait_until 15 shows ina260_up 0 'device="disks"'
chip=1/mux chip plugged 1
wait_until 60 both

systemctl stop "$service"
expect "control register after the stop" 0 "$(($(control)))"
