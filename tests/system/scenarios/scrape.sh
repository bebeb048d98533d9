#!/bin/bash
# A scrape shows exactly the values of the registers, and follows their changes.
# on one release
. scenarios/lib.sh
start_service

expect "voltage in V" 12 "$(metric ina260_voltage 'hostname="pi4"' 'device="deepx"')"
expect "current in mA" 1000 "$(metric ina260_current 'hostname="pi4"' 'device="deepx"')"
expect "power in mW" 12000 "$(metric ina260_power 'hostname="pi4"' 'device="deepx"')"
expect "volts" 12 "$(metric ina260_bus_voltage_volts)"
expect "amperes" 1 "$(metric ina260_current_amperes)"
expect "watts" 12 "$(metric ina260_power_watts)"
expect "up" 1 "$(metric ina260_up)"

# -1 A: the power register is unsigned, the metric in watts is signed.
set_load 0x2580 0xfce0
wait_until 10 shows ina260_current -1000
expect "power in mW of -1 A" 12000 "$(metric ina260_power)"
expect "watts of -1 A" -12 "$(metric ina260_power_watts)"

# The smallest steps, without rounding errors: 35 * 1.25 mV is 0.04375 V.
set_load 0x0023 0x0001
wait_until 10 shows ina260_voltage 0.04375
expect "one step of current" 1.25 "$(metric ina260_current)"
set_load 0x7ffe 0x8000
wait_until 10 shows ina260_bus_voltage_volts 40.9575
expect "minimum current" -40.96 "$(metric ina260_current_amperes)"
set_load 0x2580 0x0320
wait_until 10 shows ina260_voltage 12

# About one new result per second.
before=$(metric ina260_results_total) start=$SECONDS
sleep 15
seen=$(($(metric ina260_results_total) - before)) passed=$((SECONDS - start))
((seen >= passed - 3 && seen <= passed + 3)) || fail "$seen results in $passed s"
expect "resets" 0 "$(metric ina260_resets_total 'cause="brown-out"')"
