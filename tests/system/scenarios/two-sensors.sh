#!/bin/bash
# Two sensors on one bus show their own values; a failure or brown-out of one does not affect the
# other.
# on one release
. scenarios/lib.sh
configure '[[sensor]]' 'device = "orin"' '[[sensor]]' 'device = "disks"' 'address = 0x41'
chip=1/0x41 chip plugged 1
chip=1/0x40 set_load 0x2580 0x0320
chip=1/0x41 set_load 0x0fa0 0xfce0
systemctl enable --quiet --now "$service"

# orin and disks: return whether the sensor shows its volts and milliamperes.
orin() {
    shows ina260_voltage 12 'device="orin"' && shows ina260_current 1000 'device="orin"'
}
disks() {
    shows ina260_voltage 5 'device="disks"' && shows ina260_current -1000 'device="disks"'
}
wait_until 20 orin
wait_until 20 disks
wait_until 20 above ina260_energy_joules_total 0 'device="orin"' 'direction="forward"'
wait_until 20 above ina260_energy_joules_total 0 'device="disks"' 'direction="reverse"'
expect "reverse energy of orin" 0 \
    "$(metric ina260_energy_joules_total 'device="orin"' 'direction="reverse"')"
expect "forward energy of disks" 0 \
    "$(metric ina260_energy_joules_total 'device="disks"' 'direction="forward"')"

# total NAME [LABEL...]: prints a counter of orin.
total() {
    metric "ina260_$1_total" 'device="orin"' "${@:2}"
}
for fault in 'plugged 0' 'errno 5'; do
    results=$(total results)
    # shellcheck disable=SC2086 # file and value
    chip=1/0x41 chip $fault
    wait_until 15 shows ina260_up 0 'device="disks"'
    wait_until 10 lacks ina260_voltage 'device="disks"'
    holds_for 10 orin
    shows ina260_up 1 'device="orin"' || fail "the other sensor is down too"
    (($(total results) >= results + 6)) ||
        fail "only $(($(total results) - results)) results in more than 10 s"
    chip=1/0x41 chip errno 0
    chip=1/0x41 chip plugged 1
    wait_until 45 disks
done
chip=1/0x41 chip power_on 1
wait_until 10 shows ina260_resets_total 1 'device="disks"' 'cause="brown-out"'
wait_until 10 disks
for kind in nack timeout arbitration io identity settings; do
    expect "$kind errors of the other sensor" 0 "$(total read_errors "kind=\"$kind\"")"
done
expect "brown-outs of the other sensor" 0 "$(total resets 'cause="brown-out"')"

# Every result is read or counted as missed. Some are missed when an emulated machine stalls.
results=$(total results) missed=$(total results_missed) finished=$(chip=1/0x40 chip finished)
summary="$finished finished, $results read, $missed missed"
echo "$summary"
((results + missed <= finished + 1 && results + missed >= finished - 4)) || fail "$summary"
((missed <= results / 10)) || fail "$summary"
(($(total unmeasured_seconds) <= missed + 3)) || fail "$(total unmeasured_seconds) s unmeasured"
