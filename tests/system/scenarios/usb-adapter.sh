#!/bin/bash
# A USB adapter is unplugged and returns under another number; its bus is given by name. A node that
# is mapped to another name, as in a container, is judged by its minor number.
# on one release
. scenarios/lib.sh
modprobe --remove --quiet ina260-bus
modprobe ina260-bus buses=2
enable_i2c
chip=2/0x40 set_load 0x2580 0x0320
configure \
    '[[sensor]]' 'device = "fixed"' 'bus = 1' \
    '[[sensor]]' 'device = "usb"' 'bus = "name:INA260 test bus 2"'
systemctl enable --quiet --now "$service"
wait_until 20 shows ina260_voltage 12 'device="usb"'
series ina260_sensor_info 'device="usb"' 'bus="name:INA260 test bus 2"'

# The kernel frees the number only when the daemon has closed its descriptor.
control=/sys/kernel/debug/ina260-bus/2/number
timeout 60 bash -c "echo 0 >$control"
wait_until 15 shows ina260_up 0 'device="usb"'
shows ina260_up 1 'device="fixed"'
[[ ! -e /dev/i2c-2 ]]
wait_until 10 logged "no adapter name starts with this"
energy=$(metric ina260_energy_joules_total 'device="usb"' 'direction="forward"')
echo 9 >$control
[[ -e /sys/bus/i2c/devices/i2c-9 ]]
wait_until 30 shows ina260_up 1 'device="usb"'
above ina260_energy_joules_total $((energy - 1)) 'device="usb"' 'direction="forward"'
expect "messages" 1 "$(journal | grep -c "no adapter name starts with this")"
lsof_node=$(readlink /proc/"$(property MainPID)"/fd/* | grep -c '^/dev/i2c-9$')
expect "open nodes" 1 "$lsof_node"

# A container in which bus 1 is the host's bus 9: the lock, the name and the kernel's drivers.
in_container() {
    unshare --mount bash -c 'mount --bind /dev/i2c-9 /dev/i2c-1 && exec "$@"' - "$@"
}
scan=$(in_container ina260-exporter scan --bus 1)
grep "^bus 1  INA260 test bus 2" <<<"$scan"
grep "in use by" <<<"$scan"
systemctl stop "$service"
modprobe ina2xx-adc
echo ina226 0x40 >/sys/bus/i2c/devices/i2c-9/new_device
must_fail in_container ina260-exporter scan --bus 1
output_has 9-0040

# A udev link, and a path that is no adapter.
echo 0x40 >/sys/bus/i2c/devices/i2c-9/delete_device
ln -s i2c-9 /dev/i2c-power
ina260-exporter read --bus /dev/i2c-power
must_fail ina260-exporter read --bus /dev/null
output_has "is not an I2C adapter"
