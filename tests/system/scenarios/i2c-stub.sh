#!/bin/bash
# Debian's i2c-stub: an adapter with SMBus calls only, whose chip has registers and no behaviour.
# on amd64
. scenarios/lib.sh
rmmod ina260-bus
modprobe i2c-stub chip_addr=0x40
enable_i2c
bus=$(echo /sys/bus/i2c/devices/i2c-*)
bus=${bus##*i2c-}

# word REGISTER WORD
word() {
    i2c-word "/dev/i2c-$bus" 0x40 "$1" "$2"
}
word 0x00 0x6127
word 0x01 0xfce0
word 0x02 0x2580
word 0x03 0x04b0
word 0x06 0x0008
word 0xfe 0x5449
word 0xff 0x2270

configure "bus = $bus"
systemctl enable --quiet --now "$service"
# The stub never clears the ready flag, so that every poll finds a result; but the daemon's writes
# to the register clear it.
ready() {
    word 0x06 "$(printf '0x%04x' $(($(i2c-word "/dev/i2c-$bus" 0x40 0x06) | 8)))"
}
shows_voltage() {
    ready
    shows ina260_voltage "$1"
}
wait_until 20 shows_voltage 12
expect "current" -1000 "$(metric ina260_current)"
expect "power" 12000 "$(metric ina260_power)"
word 0x02 0x2260
wait_until 20 shows_voltage 11
