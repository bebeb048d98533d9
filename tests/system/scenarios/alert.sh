#!/bin/bash
# The alert settings are written to the chip's registers; an alert is shown, counted and logged, and
# switched off when the service stops.
# on one release
. scenarios/lib.sh

# configure_alert ALERT [LINES...]: writes a configuration with this alert.
configure_alert() {
    configure '[[sensor]]' 'device = "deepx"' "alert = { $1 }" "${@:2}"
}

# registers_are MASK_ENABLE ALERT_LIMIT
registers_are() {
    [[ $(chip mask_enable) == "$1" && $(chip alert_limit) == "$2" ]]
}

start_service '[[sensor]]' 'device = "deepx"' \
    'alert = { on = "over-current", limit = "5A", polarity = "active-high" }'
registers_are 0x8003 0x0fa0 ||
    fail "mask/enable is $(chip mask_enable), the alert limit $(chip alert_limit)"
expect "limit" 5 "$(metric ina260_alert_limit_amperes 'on="over-current"')"
expect "active" 0 "$(metric ina260_alert_active)"
expect "alerts" 0 "$(metric ina260_alerts_total)"

# No alert at the limit; above it, one alert however long it lasts.
mark_journal
set_load 0x2580 0x0fa0
wait_until 10 shows ina260_current 5000
holds_for 5 shows ina260_alert_active 0
set_load 0x2580 0x0fa1
wait_until 10 shows ina260_alert_active 1
holds_for 10 shows ina260_alert_active 1
expect "alerts" 1 "$(metric ina260_alerts_total)"
set_load 0x2580 0x0320
wait_until 10 shows ina260_alert_active 0
holds_for 5 shows ina260_alerts_total 1
echo "--- journal"
journal
expect "log lines about the alert" 2 "$(journal | grep --count alert)"
logged "over-current alert active (a conversion crossed the limit of 5 A)" ||
    fail "the start of the alert is not logged"
logged "over-current alert cleared" || fail "the end of the alert is not logged"

# The alert is configured again after a brown-out.
chip power_on 1
wait_until 20 registers_are 0x8003 0x0fa0

# Each function, with the limit converted by the calibration, and the pin's default polarity.
# reload_sets MASK_ENABLE ALERT_LIMIT ALERT [LINES...]
reload_sets() {
    configure_alert "${@:3}"
    systemctl reload "$service"
    wait_until 20 registers_are "$1" "$2"
}
reload_sets 0x4001 0x0050 'on = "under-current", limit = "100mA"'
reload_sets 0x2001 0x28a0 'on = "over-voltage", limit = "13V"'
reload_sets 0x1001 0x1f40 'on = "under-voltage", limit = "10V"'
reload_sets 0x0801 0x1388 'on = "over-power", limit = "50W"'
reload_sets 0x4001 0xf060 'on = "over-current", limit = "5A"' 'reverse = true'
reload_sets 0x8001 0x07d0 'on = "over-current", limit = "5A"' 'current_gain = 2.0'
expect "limit" 5 "$(metric ina260_alert_limit_amperes 'on="over-current"')"

# Removing the alert, and stopping the service, switch it off in the chip.
configure
systemctl reload "$service"
wait_until 20 eval "[[ \$(chip mask_enable) == 0x0001 ]]"
wait_until 10 lacks ina260_alert_limit_amperes
reload_sets 0x8001 0x0fa0 'on = "over-current", limit = "5A"'
systemctl stop "$service"
expect "mask/enable after the stop" 0x0000 "$(chip mask_enable)"
