#!/bin/bash
# What a chip is told to watch stands in its registers; an alert is shown, counted and logged, and switched off at the stop.
# on one release
. scenarios/lib.sh

# watching ALERT [LINES...]: a configuration with this alert
watching() {
    configure '[[sensor]]' 'device = "deepx"' "alert = { $1 }" "${@:2}"
}

# has MASK_ENABLE ALERT_LIMIT: in the chip's registers
has() {
    [[ $(chip mask_enable) == "$1" && $(chip alert_limit) == "$2" ]]
}

begin '[[sensor]]' 'device = "deepx"' 'alert = { on = "over-current", limit = "5A", polarity = "active-high" }'
has 0x8003 0x0fa0 || fail "mask/enable is $(chip mask_enable), the limit $(chip alert_limit)"
expect "limit" 5 "$(metric ina260_alert_limit_amperes 'on="over-current"')"
expect "active" 0 "$(metric ina260_alert_active)"
expect "alerts" 0 "$(metric ina260_alerts_total)"

# At the limit there is no alert; above it there is one, however long it lasts.
mark_journal
sees 0x2580 0x0fa0
wait_until 10 shows ina260_current 5000
for_seconds 5 shows ina260_alert_active 0
sees 0x2580 0x0fa1
wait_until 10 shows ina260_alert_active 1
for_seconds 10 shows ina260_alert_active 1
expect "alerts" 1 "$(metric ina260_alerts_total)"
sees 0x2580 0x0320
wait_until 10 shows ina260_alert_active 0
for_seconds 5 shows ina260_alerts_total 1
echo "--- the journal"
journal
expect "lines of the alert" 2 "$(journal | grep --count alert)"
logged "over-current alert: a conversion was beyond 5 A" || fail "no line when it begins"
logged "over-current alert ended" || fail "no line when it ends"

# After a brown-out it watches again.
chip power_on 1
wait_until 20 has 0x8003 0x0fa0

# Each function, with the calibration taken off, and the pin as it is by itself.
# becomes MASK_ENABLE ALERT_LIMIT ALERT [LINES...]
becomes() {
    watching "${@:3}"
    systemctl reload "$service"
    wait_until 20 has "$1" "$2"
}
becomes 0x4001 0x0050 'on = "under-current", limit = "100mA"'
becomes 0x2001 0x28a0 'on = "over-voltage", limit = "13V"'
becomes 0x1001 0x1f40 'on = "under-voltage", limit = "10V"'
becomes 0x0801 0x1388 'on = "over-power", limit = "50W"'
becomes 0x4001 0xf060 'on = "over-current", limit = "5A"' 'reverse = true'
becomes 0x8001 0x07d0 'on = "over-current", limit = "5A"' 'current_gain = 2.0'
expect "limit" 5 "$(metric ina260_alert_limit_amperes 'on="over-current"')"

# Without one, and at the stop, the chip watches nothing.
configure
systemctl reload "$service"
wait_until 20 eval "[[ \$(chip mask_enable) == 0x0001 ]]"
wait_until 10 lacks ina260_alert_limit_amperes
becomes 0x8001 0x0fa0 'on = "over-current", limit = "5A"'
systemctl stop "$service"
expect "mask/enable after the stop" 0x0000 "$(chip mask_enable)"
