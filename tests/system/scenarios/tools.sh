#!/bin/bash
# scan and read take nothing from a running service: no alert, no result, no channel; without it they show what the chip holds, and
# never write to it.
# on one release
. scenarios/lib.sh

# As a person in the group i2c.
person() {
    setpriv --reuid=nobody --regid="$(getent group i2c | cut -d: -f3)" --clear-groups "$@"
}
scan() {
    person ina260-exporter scan "$@"
}
read_() {
    person ina260-exporter read "$@"
}
# has TEXT: in what was shown last
has() {
    [[ $shown == *"$1"* ]] || fail "'$1' is missing in: $shown"
}

begin '[[sensor]]' 'device = "orin"' 'interval = "500ms"' 'alert = { on = "over-current", limit = "5A" }'
url=http://0.0.0.0:8000/metrics
chip=1/0x44 chip plugged 1
chip=1/0x48 chip plugged 1
chip=1/0x48 chip manufacturer 0x1234
wait_until 10 test -s /run/ina260-exporter/bus-1.lock

# Beside the service: its sensors by their names, settings and alert by its scrape.
shown=$(scan)
has "in use by the service at $url"
has '0x40  INA260, die 0x2270: orin'
has '0x44  INA260, die 0x2270'
has '0x48  not an INA260: manufacturer 0x1234, die 0x2270'
shown=$(read_)
has 'voltage   12.000 V'
has 'current   1.000 A'
has 'alert     over-current 5 A: quiet'
has 'the bus is in use: settings and alert are what the service says'
shown=$(read_ --json --address 0x44)
has '"settings": null'
refuses scan --mux
refuses read_ --mux 0x70:0
says "bus 1 is in use by the service at $url: to switch a multiplexer would give it the wrong sensor"

# An alert that trips and ends while the service stands still waits for it, whatever people read meanwhile.
trip() {
    systemctl kill --signal=STOP "$service"
    sees 0x2580 0x1000
    sees 0x2580 0x0320
    "$@" >/dev/null
    systemctl kill --signal=CONT "$service"
}
people_look() {
    scan
    read_
    read_ --address 0x44
}
expect "alerts" 0 "$(metric ina260_alerts_total)"
trip people_look
wait_until 20 shows ina260_alerts_total 1
# What it would have been like if they had looked at the flags.
wait_until 20 shows ina260_alert_active 0
trip i2c-word /dev/i2c-1 0x40 0x06
for_seconds 5 shows ina260_alerts_total 1

# Nor does a result go missing while people read as fast as they can.
wait_until 20 shows ina260_up 1
results=$(metric ina260_results_total) missed=$(metric ina260_results_missed_total)
for_seconds 20 people_look
results=$(($(metric ina260_results_total) - results)) missed=$(($(metric ina260_results_missed_total) - missed))
echo "$results results read, $missed missed, beside $SECONDS s of scan and read"
((results > 20 && missed <= results / 10)) || fail "$results results, $missed missed"
for cause in brown-out foreign; do
    expect "resets" 0 "$(metric ina260_resets_total "cause=\"$cause\"")"
done

# Followed through a pipe that closes: a head, and lines of the service's sensor.
shown=$(read_ --follow --interval 100ms | head -4)
has ',orin,1,,0x40,12,1,12,0,'
expect "lines" 4 "$(wc -l <<<"$shown")"

# What scan appends is measured after a reload.
configure '[[sensor]]' 'device = "orin"'
scan --toml >>"$configuration"
ina260-exporter --check-config --quiet
systemctl reload "$service"
wait_until 20 shows ina260_up 1 'device="i2c-1-0x44"'
expect "appended again" '# No INA260 answers that is not in the configuration.' "$(scan --toml)"

# Without the service the chip itself tells, and is never written.
systemctl stop "$service"
configured=$(chip configured)
settings=$(chip configuration)
shown=$(read_)
has 'orin  bus 1, 0x40'
has 'mean of 1024 × (588 µs current + 332 µs voltage) = 942.08 ms'
has 'alert     none'
[[ $shown != *'in use'* ]] || fail "nobody uses the bus: $shown"
expect "writes" "$configured $settings" "$(chip configured) $(chip configuration)"

# Behind a multiplexer, which is as it was afterwards.
chip=1/mux chip plugged 1
chip=1/mux chip control 0x10
for channel in 2 4; do
    chip=1/mux/$channel chip plugged 1
done
chip=1/mux/2 sees 0x0fa0 0x0320
chip plugged 0
shown=$(scan --mux)
has 'mux 0x70:2, 0x40  INA260, die 0x2270'
has 'mux 0x70:4, 0x40  INA260, die 0x2270'
expect "control" 0x10 "$(printf '0x%02x' "$(chip=1/mux chip control)")"
five_volts() {
    [[ $(read_ --mux 0x70:2) == *"voltage   5.000 V"* ]]
}
wait_until 10 five_volts
expect "control" 0x10 "$(printf '0x%02x' "$(chip=1/mux chip control)")"
chip=1/mux chip plugged 0
chip plugged 1

# A kernel driver's chip, a dead one, and a bus that is not for everybody.
modprobe ina2xx-adc
echo ina226 0x44 >/sys/bus/i2c/devices/i2c-1/new_device
shown=$(scan)
has '0x44  the kernel driver ina2xx_adc has this chip; release it with'
has 'echo 1-0044 > /sys/bus/i2c/drivers/ina2xx_adc/unbind'
chip plugged 0
refuses read_ --address 0x40
says 'no answer (errno 121); check its wiring'
refuses setpriv --reuid=nobody --regid=nogroup --clear-groups ina260-exporter scan
says '/dev/i2c-1: permission denied; it belongs to the group i2c'
