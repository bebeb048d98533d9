#!/bin/bash
# Two chips on one bus show their own values, and one that dies, or browns out, does not disturb the other.
# on one release
. scenarios/lib.sh
configure '[[sensor]]' 'device = "orin"' '[[sensor]]' 'device = "disks"' 'address = 0x41'
chip=1/0x41 chip plugged 1
chip=1/0x40 sees 0x2580 0x0320
chip=1/0x41 sees 0x0fa0 0xfce0
systemctl enable --quiet --now "$service"

# orin and disks: their values on the chip's own scales, volts and milliamperes
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
expect "reverse energy of orin" 0 "$(metric ina260_energy_joules_total 'device="orin"' 'direction="reverse"')"
expect "forward energy of disks" 0 "$(metric ina260_energy_joules_total 'device="disks"' 'direction="forward"')"

# total NAME: of orin
total() {
    metric "ina260_$1_total" 'device="orin"' "${@:2}"
}
for trouble in 'plugged 0' 'errno 5'; do
    results=$(total results)
    # shellcheck disable=SC2086 # file and value
    chip=1/0x41 chip $trouble
    wait_until 15 shows ina260_up 0 'device="disks"'
    wait_until 10 lacks ina260_voltage 'device="disks"'
    for_seconds 10 orin
    shows ina260_up 1 'device="orin"' || fail "the other one is down too"
    (($(total results) >= results + 6)) || fail "only $(($(total results) - results)) results in more than 10 s"
    chip=1/0x41 chip errno 0
    chip=1/0x41 chip plugged 1
    wait_until 45 disks
done
chip=1/0x41 chip power_on 1
wait_until 10 shows ina260_resets_total 1 'device="disks"' 'cause="brown-out"'
wait_until 10 disks
for kind in nack timeout arbitration io identity settings; do
    expect "errors of the other one" 0 "$(total read_errors "kind=\"$kind\"")"
done
expect "brown-outs of the other one" 0 "$(total resets 'cause="brown-out"')"

# None is lost unseen. An emulated machine that stands still for a second misses some, but for that alone.
results=$(total results) missed=$(total results_missed) finished=$(chip=1/0x40 chip finished)
echo "$finished finished, $results read, $missed missed"
((results + missed <= finished + 1 && results + missed >= finished - 4)) || fail "$finished finished, $results read, $missed missed"
((missed <= results / 10)) || fail "$missed missed, $results read"
(($(total unmeasured_seconds) <= missed + 3)) || fail "$(total unmeasured_seconds) s unmeasured"
