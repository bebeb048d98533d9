#!/bin/bash
# Another chip at the address of a sensor is named and left alone, with and without a driver of the
# kernel. The service logs at which other addresses and buses INA260s respond.
# on one release
. scenarios/lib.sh
rmmod ina260-bus
modprobe ina260-bus buses=2
udevadm settle

# starts_with MESSAGE: fails unless the service starts with this message in its log.
starts_with() {
    mark_journal
    systemctl restart "$service"
    wait_until 20 logged "$1"
    wait_until 10 shows ina260_up 0
    ! logged unbind || fail "advises to unbind: $(journal)"
}
# bind DRIVER NAME: binds a driver of the kernel to the chip.
bind() {
    modprobe "$1"
    echo "$2" 0x40 >/sys/bus/i2c/devices/i2c-1/new_device
    [[ -e /sys/bus/i2c/devices/1-0040/driver ]] || fail "$1 is not bound"
}
unbind() {
    echo 0x40 >/sys/bus/i2c/devices/i2c-1/delete_device
}

# A chip strapped to another address.
chip=1/0x44 chip plugged 1
chip plugged 0
starts_with "INA260s respond at bus 1, 0x44; bus 2, 0x40"
chip=1/0x44 chip plugged 0

# A chip with a driver of its own, which is not accessed. Debian's kernels have none for the
# INA3221. The service is stopped: it would read the chip before the driver is bound.
systemctl stop "$service"
chip plugged 1
bind sht21 sht21
transfers=$(chip transfers)
found="is in use by the kernel (sht21), not an INA260"
starts_with "0x40 on bus 1 $found; INA260s respond at bus 2, 0x40"
must_fail ina260-exporter
output_has "0x40 on bus 1 $found; INA260s respond at bus 2, 0x40"
shown=$(ina260-exporter scan)
[[ $shown == *"0x40  in use by the kernel (sht21), not an INA260"* ]] || fail "$shown"
must_fail ina260-exporter read
output_has "in use by the kernel (sht21), not an INA260"
expect "transfers" "$transfers" "$(chip transfers)"
unbind

# A related chip, with the driver that can also be bound to an INA260.
chip die 0x2260
bind ina2xx-adc ina226
starts_with "0x40 on bus 1 is in use by the kernel (INA226), not an INA260; INA260s respond at"
unbind

# Without a driver.
starts_with "0x40 on bus 1 is an INA226, not an INA260 (manufacturer 0x5449, die 0x2260); INA260s"
chip manufacturer 0
chip die 0
chip configuration 0x399f
starts_with "0x40 on bus 1 is an INA219, not an INA260"
