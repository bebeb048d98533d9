#!/bin/bash
# Muxes that the kernel controls: two of them on one bus with the same address downstream are
# refused until both deselect their channels; a chip that also responds upstream is listed once.
# on one release
. scenarios/lib.sh
chip plugged 0
for mux in mux mux-0x71; do
    chip=1/$mux chip plugged 1
    chip=1/$mux/0 chip plugged 1
done
chip=1/mux/0 set_load 0x0fa0 0x0320      # 5 V 1 A
chip=1/mux-0x71/0 set_load 0x2580 0x0640 # 12 V 2 A
echo pca9548 0x70 >/sys/bus/i2c/devices/i2c-1/new_device

# child MUX: the bus of the mux's first channel
child() {
    local link
    link=$(readlink "/sys/bus/i2c/devices/$1/channel-0")
    echo "${link##*i2c-}"
}
first=$(child 1-0070)
i2c-word "/dev/i2c-$first" 0x40 0xfe # leaves the channel selected
expect "word upstream" 0x5449 "$(i2c-word /dev/i2c-1 0x40 0xfe)"

# One chip that responds on the bus and on its child.
rm -f "$configuration"
tables=$(ina260-exporter scan --toml)
expect "tables" 1 "$(grep -c '^address = 0x40' <<<"$tables")"
grep "^bus = $first " <<<"$tables"
configure '[[sensor]]' 'device = "a"' 'bus = 1' '[[sensor]]' 'device = "b"' "bus = $first"
must_fail ina260-exporter --check-config
output_has "duplicates the location of"
output_has "1-0070"

# Two muxes that leave their channels selected.
echo pca9548 0x71 >/sys/bus/i2c/devices/i2c-1/new_device
second=$(child 1-0071)
configure '[[sensor]]' 'device = "a"' "bus = $first" '[[sensor]]' 'device = "b"' "bus = $second"
must_fail ina260-exporter --check-config
output_has idle_state
must_fail systemctl start "$service"
logged idle_state
echo -2 >/sys/bus/i2c/devices/1-0070/idle_state
must_fail ina260-exporter --check-config
echo -2 >/sys/bus/i2c/devices/1-0071/idle_state
systemctl start "$service"
wait_until 20 shows ina260_bus_voltage_volts 5 'device="a"'
wait_until 20 shows ina260_bus_voltage_volts 12 'device="b"'

# At a reload as well; the running configuration stays.
echo -1 >/sys/bus/i2c/devices/1-0070/idle_state
mark_journal
must_fail systemctl reload "$service"
logged "reload failed"
# Until then, both chips respond to each of the sensors.
echo -2 >/sys/bus/i2c/devices/1-0070/idle_state
wait_until 20 shows ina260_bus_voltage_volts 5 'device="a"'
wait_until 20 shows ina260_bus_voltage_volts 12 'device="b"'

# A mux that appears after the start, on the wires of another: its bus stays closed until both
# deselect their channels.
systemctl stop "$service"
echo -1 >/sys/bus/i2c/devices/1-0070/idle_state
echo 0x71 >/sys/bus/i2c/devices/i2c-1/delete_device
mark_journal
systemctl start "$service"
wait_until 20 shows ina260_up 1 'device="a"'
echo pca9548 0x71 >/sys/bus/i2c/devices/i2c-1/new_device
expect "bus of the second mux" "$second" "$(child 1-0071)"
wait_until 40 logged "duplicates the location of"
holds_for 5 shows ina260_bus_voltage_volts 5 'device="a"'
shows ina260_up 0 'device="b"'
echo -2 >/sys/bus/i2c/devices/1-0070/idle_state
echo -2 >/sys/bus/i2c/devices/1-0071/idle_state
wait_until 60 shows ina260_bus_voltage_volts 12 'device="b"'
shows ina260_bus_voltage_volts 5 'device="a"'
