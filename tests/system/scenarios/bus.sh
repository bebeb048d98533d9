#!/bin/bash
# The simulated bus behaves as the sensor's data sheet says.
# on one release
. scenarios/lib.sh

# word REGISTER [WORD]
word() {
    i2c-word /dev/i2c-1 "${address:-0x40}" "$@"
}

expect "configuration at power-on" 0x6127 "$(word 0x00)"
expect "manufacturer" 0x5449 "$(word 0xfe)"
expect "die" 0x2270 "$(word 0xff)"

# Power is the unsigned product of both: 12 V and 1 A, then -1 A.
set_load 0x2580 0x0320
expect "current" 0x0320 "$(word 0x01)"
expect "voltage" 0x2580 "$(word 0x02)"
expect "power" 0x04b0 "$(word 0x03)"
set_load 0x2580 0xfce0
expect "negative current" 0xfce0 "$(word 0x01)"
expect "power at negative current" 0x04b0 "$(word 0x03)"
chip power 0x1234
expect "power override" 0x1234 "$(word 0x03)"
chip power 0

# The ready flag is set after a cycle, here 1024 * (8244 + 8244) us = 17 s, and cleared by a read.
word 0x06 0x8001
word 0x07 0x7fff
word 0x00 0x6fff
start=$SECONDS
expect "mask/enable during the cycle" 0x8001 "$(word 0x06)"
expect "current during the cycle" 0xfce0 "$(word 0x01)"
until [[ $(word 0x06) == 0x8009 ]]; do
    ((SECONDS < start + 60)) || fail "no ready flag"
    sleep 0.2
done
((SECONDS >= start + 16)) || fail "ready after $((SECONDS - start)) s"
expect "mask/enable on the second read" 0x8001 "$(word 0x06)"

# Over-current, latched until read.
set_load 0x2580 0x0320
word 0x07 0x0300
expect "mask/enable with an alert" 0x8011 "$(word 0x06)"
word 0x00 0x6127

# A brown-out and the reset bit.
chip power_on 1
expect "mask/enable after a brown-out" 0 "$(($(word 0x06) & 0xfff7))"
word 0x00 0x6fff
word 0x00 0x8000
expect "configuration after a reset" 0x6127 "$(word 0x00)"
expect "configuration writes" 4 "$(chip configured)"

# The module's own counts: cycles of 1024 * (140 + 140) us = 0.29 s, 3.44 J each. An unplugged chip
# keeps its counts.
before=$(chip finished)
word 0x00 0x6e07
wait_until 30 eval "(( \$(chip finished) >= before + 10 ))"
chip plugged 0
counted=$(($(chip finished) - before))
expect "counts of an unplugged chip" "$counted" "$(sleep 1; echo $(($(chip finished) - before)))"
joules=$(($(chip energy) / 1000))
((joules >= counted * 344 / 100 - 1)) || fail "$joules J in $counted cycles"
chip plugged 1

# A mux: only the chip on the channel selected by the control register responds. Any byte written,
# including a register number, sets the control register.
must_fail i2c-word /dev/i2c-1 0x70 0
chip=1/mux chip plugged 1
for channel in 0 3; do
    chip=1/mux/$channel chip plugged 1
    chip=1/mux/$channel set_load "0x100$channel" 0
done
chip plugged 0
must_fail word 0x02
for channel in 0 3; do
    control=$((1 << channel))
    expect "control, twice" "$(printf '0x%02x%02x' $control $control)" \
        "$(i2c-word /dev/i2c-1 0x70 $control)"
    expect "control" "$control" "$(($(chip=1/mux chip control)))"
    wait_until 5 eval "[[ \$(word 0x02) == 0x100$channel ]]"
done
i2c-word /dev/i2c-1 0x70 0
must_fail word 0x02
chip=1/mux chip plugged 0
chip plugged 1

# An unused address, an unplugged chip, and a chosen error: errno 110 for two transfers.
address=0x41 must_fail word 0x00
output_has "Remote I/O error"
chip plugged 0
must_fail word 0x00
output_has "Remote I/O error"
chip plugged 1
chip failures 2
chip errno 110
must_fail word 0x00
output_has "timed out"
must_fail word 0x00
word 0x00

# A blocked transfer continues once it is released, and can be killed.
chip hang Y
word 0x00 >/run/word &
sleep 2
expect "output during the blocked transfer" "" "$(cat /run/word)"
chip hang N
wait %1
expect "output after the release" 0x6127 "$(cat /run/word)"
chip hang Y
word 0x00 &
sleep 1
kill -KILL $!
wait_until 5 eval "! kill -0 $!"
chip hang N
