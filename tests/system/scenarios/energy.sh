#!/bin/bash
# Energy, time and results of a minute match the counts of the simulated chips: a fast sensor at
# 24 W and a slow one at 1 W.
# on one release
. scenarios/lib.sh
state=/var/lib/ina260-exporter
configure '[[sensor]]' 'device = "fast"' 'interval = "50ms"' \
    '[[sensor]]' 'device = "slow"' 'address = 0x41'
chip=1/0x41 chip plugged 1
chip=1/0x40 set_load 0x2580 0x0640
chip=1/0x41 set_load 0x0fa0 0x00a0
systemctl enable --quiet --now "$service"
wait_until 20 shows ina260_up 1 'device="slow"'

# total DEVICE NAME [LABEL...]
total() {
    metric "ina260_$2_total" "device=\"$1\"" "${@:3}"
}
# Prints the seconds covered and not covered by results, added.
lifetime() {
    echo $(($(total "$1" measured_seconds) + $(total "$1" unmeasured_seconds)))
}
# expect_near SUBJECT EXPECTED ACTUAL TOLERANCE
expect_near() {
    echo "$1: $3, expected $2"
    (($3 >= $2 - $4 && $3 <= $2 + $4)) || fail "$1 is $3, expected $2 within $4"
}

# Measured plus unmeasured time follows the clock.
wait_until 20 above ina260_results_total 3 'device="slow"'
start=$(date +%s) before=$(lifetime slow)
wait_until 120 above ina260_measured_seconds_total 60 'device="slow"'
expect_near "lifetime of slow" "$(($(date +%s) - start))" "$(($(lifetime slow) - before))" 3

# Unplugged chips stop counting.
chip=1/0x40 chip plugged 0
chip=1/0x41 chip plugged 0
wait_until 15 shows ina260_up 0 'device="fast"'
wait_until 15 shows ina260_up 0 'device="slow"'
# An emulated machine may stall before that: the cycles of up to half a second are then not counted.
for which in fast:0x40:24:13 slow:0x41:1:2; do
    IFS=: read -r device address watts unknown <<<"$which"
    chip=1/$address
    results=$(total "$device" results) missed=$(total "$device" results_missed)
    joules=$(total "$device" energy_joules 'direction="forward"')
    measured=$(total "$device" measured_seconds)
    finished=$(chip finished) energy=$(chip energy)
    expect "reverse energy of $device" 0 "$(total "$device" energy_joules 'direction="reverse"')"
    expect_near "results of $device ($missed missed)" "$finished" "$((results + missed))" "$unknown"
    # The share of the chip's energy that was read; the tolerance covers the fraction and a few
    # results whose timing is blurred in an emulated machine.
    expect_near "joules of $device" "$((energy * results / finished / 1000))" "$joules" \
        "$((2 + watts / 5))"
    # The time is shown in whole seconds.
    expect_near "joules of $device by measured time" "$((measured * watts))" "$joules" \
        "$((2 + watts))"
done

# Exactly: the saved counters include the fractions.
systemctl stop "$service"
cat "$state/totals"
awk -F '[": ,]+' '
    $2 == "device" { watts = $3 == "fast" ? 24 : 1 }
    $2 == "energy_attojoules.forward" { energy = $3 / 1e18 }
    $2 == "measured_nanoseconds" {
        seen++
        error = energy / ($3 / 1e9) / watts - 1
        if (error > 1e-9 || error < -1e-9) exit 1
    }
    END { if (seen != 2) exit 1 }' "$state/totals" || fail "energy is not power times measured time"
