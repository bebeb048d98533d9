#!/bin/bash
# `scan` and `read` do not disturb a running service: no alert or result is lost and no mux channel
# changed. Without the service they show the chip's registers, and never write to the chip.
# on one release
. scenarios/lib.sh

# as_user COMMAND...: runs it as an unprivileged user in the group i2c.
as_user() {
    setpriv --reuid=nobody --regid="$(getent group i2c | cut -d: -f3)" --clear-groups "$@"
}
scan() {
    as_user ina260-exporter scan "$@"
}
read_() {
    as_user ina260-exporter read "$@"
}
# shown_has TEXT: fails unless $shown contains TEXT.
shown_has() {
    [[ $shown == *"$1"* ]] || fail "'$1' is missing in: $shown"
}

start_service '[[sensor]]' 'device = "orin"' 'interval = "500ms"' \
    'alert = { on = "over-current", limit = "5A" }'
url=http://0.0.0.0:8000/metrics
chip=1/0x44 chip plugged 1
chip=1/0x48 chip plugged 1
chip=1/0x48 chip manufacturer 0x1234
wait_until 10 test -s /run/ina260-exporter/bus-1.lock

# While the service is running: sensor names, settings and alert come from its scrape.
shown=$(scan)
shown_has "in use by the service at $url"
shown_has '0x40  INA260, die 0x2270: orin'
shown_has '0x44  INA260, die 0x2270'
shown_has '0x48  not an INA260 (manufacturer 0x1234, die 0x2270)'
shown=$(read_)
shown_has 'voltage   12.000 V'
shown_has 'current   1.000 A'
shown_has 'alert     over-current 5 A: inactive'
shown_has "the bus is in use: settings and alert are from the service's metrics"
shown=$(read_ --json --address 0x44)
shown_has '"settings": null'
must_fail scan --mux
must_fail read_ --mux 0x70:0
output_has "bus 1: muxes are not switched (in use by the service at $url)"

# An alert that trips and ends while the service is stopped by SIGSTOP is still latched for the
# service after scans and reads.
# trip COMMAND...: trips the alert and runs COMMAND while the service is stopped.
trip() {
    systemctl kill --signal=STOP "$service"
    set_load 0x2580 0x1000
    set_load 0x2580 0x0320
    "$@" >/dev/null
    systemctl kill --signal=CONT "$service"
}
scan_and_read() {
    scan
    read_
    read_ --address 0x44
}
expect "alerts" 0 "$(metric ina260_alerts_total)"
trip scan_and_read
wait_until 20 shows ina260_alerts_total 1
# For comparison: reading mask/enable clears the latch, and the alert is lost.
wait_until 20 shows ina260_alert_active 0
trip i2c-word /dev/i2c-1 0x40 0x06
holds_for 5 shows ina260_alerts_total 1

# No result is missed during continuous scans and reads.
wait_until 20 shows ina260_up 1
results=$(metric ina260_results_total) missed=$(metric ina260_results_missed_total)
holds_for 20 scan_and_read
results=$(($(metric ina260_results_total) - results))
missed=$(($(metric ina260_results_missed_total) - missed))
echo "$results results read, $missed missed, during 20 s of scan and read"
((results > 20 && missed <= results / 10)) || fail "$results results, $missed missed"
for cause in brown-out foreign; do
    expect "resets" 0 "$(metric ina260_resets_total "cause=\"$cause\"")"
done

# `read --follow` into a pipe that is closed: a header, and lines of the service's sensor.
shown=$(read_ --follow --interval 100ms | head -4)
shown_has ',orin,1,,0x40,12,1,12,0,'
expect "lines" 4 "$(wc -l <<<"$shown")"

# Tables from `scan --toml` are measured after a reload.
configure '[[sensor]]' 'device = "orin"'
scan --toml >>"$configuration"
ina260-exporter --check-config --quiet
systemctl reload "$service"
wait_until 20 shows ina260_up 1 'device="i2c-1-0x44"'
expect "tables after the reload" \
    '# No INA260 to add: those found, if any, are already in the configuration.' "$(scan --toml)"

# Without the service the chip is read directly, and never written to.
systemctl stop "$service"
configured=$(chip configured)
settings=$(chip configuration)
shown=$(read_)
shown_has 'orin  bus 1, 0x40'
shown_has 'mean of 1024 × (588 µs current + 332 µs voltage) = 942.08 ms'
shown_has 'alert     none'
[[ $shown != *'in use'* ]] || fail "the bus is not in use: $shown"
expect "configuration writes and settings" "$configured $settings" \
    "$(chip configured) $(chip configuration)"

# Downstream of a mux, whose channels are restored afterwards.
chip=1/mux chip plugged 1
chip=1/mux chip control 0x10
for channel in 2 4; do
    chip=1/mux/$channel chip plugged 1
done
chip=1/mux/2 set_load 0x0fa0 0x0320
chip plugged 0
shown=$(scan --mux)
shown_has 'mux 0x70:2, 0x40  INA260, die 0x2270'
shown_has 'mux 0x70:4, 0x40  INA260, die 0x2270'
expect "control" 0x10 "$(printf '0x%02x' "$(chip=1/mux chip control)")"
five_volts() {
    [[ $(read_ --mux 0x70:2) == *"voltage   5.000 V"* ]]
}
wait_until 10 five_volts
expect "control" 0x10 "$(printf '0x%02x' "$(chip=1/mux chip control)")"
chip=1/mux chip plugged 0
chip plugged 1

# A chip bound to a kernel driver, one that does not respond, and a bus without permission.
modprobe ina2xx-adc
echo ina226 0x44 >/sys/bus/i2c/devices/i2c-1/new_device
shown=$(scan)
shown_has '0x44  claimed by kernel driver ina2xx_adc; unbind it with'
shown_has 'echo 1-0044 > /sys/bus/i2c/drivers/ina2xx_adc/unbind'
chip plugged 0
must_fail read_ --address 0x40
output_has 'no acknowledge (errno 121); check wiring'
must_fail setpriv --reuid=nobody --regid=nogroup --clear-groups ina260-exporter scan
output_has '/dev/i2c-1: permission denied (owned by group i2c)'
