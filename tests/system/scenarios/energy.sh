#!/bin/bash
# Energy, time and results of a minute are those that the chips count themselves: a fast one at 24 W, and a slow one at 1 W.
# on one release
. scenarios/lib.sh
state=/var/lib/ina260-exporter
configure '[[sensor]]' 'device = "fast"' 'interval = "50ms"' '[[sensor]]' 'device = "slow"' 'address = 0x41'
chip=1/0x41 chip plugged 1
chip=1/0x40 sees 0x2580 0x0640
chip=1/0x41 sees 0x0fa0 0x00a0
systemctl enable --quiet --now "$service"
wait_until 20 shows ina260_up 1 'device="slow"'

# total DEVICE NAME [LABEL...]
total() {
    metric "ina260_$2_total" "device=\"$1\"" "${@:3}"
}
lived() {
    echo $(($(total "$1" measured_seconds) + $(total "$1" unmeasured_seconds)))
}
# near WHAT WANTED SEEN BY
near() {
    echo "$1: $3, wanted $2"
    (($3 >= $2 - $4 && $3 <= $2 + $4)) || fail "$1 is $3, not $2 within $4"
}

# Measured and unmeasured grow as time does.
wait_until 20 above ina260_results_total 3 'device="slow"'
begun=$(date +%s) lived=$(lived slow)
wait_until 120 above ina260_measured_seconds_total 60 'device="slow"'
near "life of the slow one" "$(($(date +%s) - begun))" "$(($(lived slow) - lived))" 3

# Without a supply the chips stop counting.
chip=1/0x40 chip plugged 0
chip=1/0x41 chip plugged 0
wait_until 15 shows ina260_up 0 'device="fast"'
wait_until 15 shows ina260_up 0 'device="slow"'
# An emulated machine may stand still for half a second before that, and what a chip finished then nobody can know of.
for which in fast:0x40:24:13 slow:0x41:1:2; do
    IFS=: read -r device address watts unknown <<<"$which"
    chip=1/$address
    results=$(total "$device" results) missed=$(total "$device" results_missed)
    joules=$(total "$device" energy_joules 'direction="forward"') measured=$(total "$device" measured_seconds)
    finished=$(chip finished) energy=$(chip energy)
    expect "reverse energy of $device" 0 "$(total "$device" energy_joules 'direction="reverse"')"
    near "results of $device, $missed of them missed" "$finished" "$((results + missed))" "$unknown"
    # Of the chip's sum, what was read, but for the fraction and a few results whose time an emulated machine blurs.
    near "joules of $device" "$((energy * results / finished / 1000))" "$joules" "$((2 + watts / 5))"
    # Seconds are shown as whole ones.
    near "joules of $device by its time" "$((measured * watts))" "$joules" "$((2 + watts))"
done

# To the last digit: what is kept over a stop has the fractions.
systemctl stop "$service"
cat "$state/totals"
awk '
    $1 == "name" { watts = $2 == "fast" ? 24 : 1 }
    $1 == "energy_attojoules.forward" { energy = $2 / 1e18 }
    $1 == "measured_nanoseconds" { seen++; off = energy / ($2 / 1e9) / watts - 1; if (off > 1e-9 || off < -1e-9) exit 1 }
    END { if (seen != 2) exit 1 }' "$state/totals" || fail "energy is not power times the measured time"
