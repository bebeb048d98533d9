#!/bin/bash
# An address that belongs to a kernel driver is left to it, and the message has the command that frees it.
. scenarios/lib.sh
sees 0x2580 0x0320
# The driver of its relatives, for want of one for the INA260 in this kernel.
modprobe ina2xx-adc
echo ina226 0x40 >/sys/bus/i2c/devices/i2c-1/new_device
expect "the driver" ina2xx_adc "$(basename "$(realpath /sys/bus/i2c/devices/1-0040/driver)")"
configured=$(chip configured)

mark_journal
systemctl enable --quiet --now "$service"
wait_until 10 shows ina260_up 0
lacks ina260_voltage || fail "readings of a chip that is a driver's"
journal
logged ina2xx_adc
logged unbind
expect "writes of the configuration" "$configured" "$(chip configured)"

# The command from the message does it.
command=$(journal | grep --only-matching --extended-regexp 'echo 1-0040 ?(\| sudo tee|>) ?/sys/bus/i2c/[a-z0-9/_-]*/unbind' | head -1)
[[ $command ]] || fail "no command to free it in: $(journal)"
bash -c "${command/sudo /}"
wait_until 45 shows ina260_voltage 12
