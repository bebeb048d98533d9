#!/bin/bash
# After a reboot the enabled service runs again, with the I2C device nodes that only the package
# requests.
. scenarios/lib.sh
case $stage in
    1)
        start_service
        reboot_and_continue
        ;;
    2)
        set_load 0x2580 0x0320
        expect "unit" "active enabled" "$(property ActiveState) $(property UnitFileState)"
        expect "device node" "root i2c 660" "$(stat --format '%U %G %a' /dev/i2c-1)"
        wait_until 20 shows ina260_voltage 12
        expect "restarts" 0 "$(property NRestarts)"
        ;;
esac
