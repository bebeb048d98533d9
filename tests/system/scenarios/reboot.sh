#!/bin/bash
# A reboot brings the enabled service back, with the I2C devices that only the package asks for.
. scenarios/lib.sh
case $stage in
    1)
        begin
        reboot_and_go_on
        ;;
    2)
        sees 0x2580 0x0320
        expect "the unit" "active enabled" "$(property ActiveState) $(property UnitFileState)"
        expect "the node" "root i2c 660" "$(stat --format '%U %G %a' /dev/i2c-1)"
        wait_until 20 shows ina260_voltage 12
        expect "restarts" 0 "$(property NRestarts)"
        ;;
esac
