#!/bin/bash
# A chip whose registers fell back to their power-on values is reconfigured; the reset is counted.
# on one release
. scenarios/lib.sh
start_service
settings=$(chip configuration) alerts=$(chip mask_enable)
[[ $settings != 0x6127 ]] || fail "the sensor still has its power-on configuration"
(((alerts & 1) == 1)) || fail "the alert latch is off: mask/enable $alerts"

for count in 1 2; do
    configured=$(chip configured)
    chip power_on 1
    wait_until 10 shows ina260_resets_total "$count" 'cause="brown-out"'
    wait_until 10 eval "[[ \$(chip configuration) == $settings ]]"
    expect "mask/enable" "$alerts" "$(chip mask_enable)"
    (($(chip configured) > configured)) || fail "the configuration was not written"
    wait_until 10 shows ina260_voltage 12
done
expect "foreign resets" 0 "$(metric ina260_resets_total 'cause="foreign"')"

# Settings written by another I2C master are not counted as a brown-out.
configured=$(chip configured)
chip configuration 0x6337
wait_until 15 shows ina260_resets_total 1 'cause="foreign"'
wait_until 60 eval "[[ \$(chip configuration) == $settings ]]"
expect "brown-outs" 2 "$(metric ina260_resets_total 'cause="brown-out"')"
wait_until 10 shows ina260_voltage 12

# A configured chip is not written to: a write would restart the running average.
configured=$(chip configured)
holds_for 10 eval "(( \$(chip configured) == $configured ))"
