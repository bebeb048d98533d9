#!/bin/bash
# An address claimed by a kernel driver is not used, and the log contains the command to unbind it.
. scenarios/lib.sh
set_load 0x2580 0x0320
# This kernel has no driver for the INA260; take the one for related chips.
modprobe ina2xx-adc
echo ina226 0x40 >/sys/bus/i2c/devices/i2c-1/new_device
expect "bound driver" ina2xx_adc "$(basename "$(realpath /sys/bus/i2c/devices/1-0040/driver)")"
configured=$(chip configured)

mark_journal
systemctl enable --quiet --now "$service"
wait_until 10 shows ina260_up 0
lacks ina260_voltage || fail "readings of a chip that is bound to a driver"
journal
logged ina2xx_adc
logged unbind
expect "configuration writes" "$configured" "$(chip configured)"

# The command from the log unbinds it.
pattern='echo 1-0040 ?(\| sudo tee|>) ?/sys/bus/i2c/[a-z0-9/_-]*/unbind'
command=$(journal | grep --only-matching --extended-regexp "$pattern" | head -1)
[[ $command ]] || fail "no unbind command in: $(journal)"
bash -c "${command/sudo /}"
wait_until 45 shows ina260_voltage 12
