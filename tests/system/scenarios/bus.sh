#!/bin/bash
# The bus of these scenarios itself: it behaves as the sensor's data sheet says.
# on one release
. scenarios/lib.sh

# word REGISTER [WORD]
word() {
    i2c-word /dev/i2c-1 "${address:-0x40}" "$@"
}

expect "configuration at power-on" 0x6127 "$(word 0x00)"
expect "manufacturer" 0x5449 "$(word 0xfe)"
expect "die" 0x2270 "$(word 0xff)"

# Power is the product of both, without a sign: 12 V and 1 A, then -1 A.
sees 0x2580 0x0320
expect "current" 0x0320 "$(word 0x01)"
expect "voltage" 0x2580 "$(word 0x02)"
expect "power" 0x04b0 "$(word 0x03)"
sees 0x2580 0xfce0
expect "negative current" 0xfce0 "$(word 0x01)"
expect "power of it" 0x04b0 "$(word 0x03)"
chip power 0x1234
expect "power as told" 0x1234 "$(word 0x03)"
chip power 0

# The ready flag comes after a cycle, here 1024 * (8244 + 8244) us = 17 s, and goes by being read.
word 0x06 0x8001
word 0x07 0x7fff
word 0x00 0x6fff
start=$SECONDS
expect "mask/enable in the cycle" 0x8001 "$(word 0x06)"
expect "current in the cycle" 0xfce0 "$(word 0x01)"
until [[ $(word 0x06) == 0x8009 ]]; do
    ((SECONDS < start + 60)) || fail "no ready flag"
    sleep 0.2
done
((SECONDS >= start + 16)) || fail "ready after $((SECONDS - start)) s"
expect "mask/enable when read again" 0x8001 "$(word 0x06)"

# Over-current, latched until read.
sees 0x2580 0x0320
word 0x07 0x0300
expect "mask/enable with an alert" 0x8011 "$(word 0x06)"
word 0x00 0x6127

# A brown-out and the reset bit.
chip power_on 1
expect "mask/enable after a brown-out" 0 "$(($(word 0x06) & 0xfff7))"
word 0x00 0x6fff
word 0x00 0x8000
expect "configuration after a reset" 0x6127 "$(word 0x00)"
expect "times configured" 4 "$(chip configured)"

# What it counts of itself: cycles of 1024 * (140 + 140) us = 0.29 s, 3.44 J each. Unplugged, it keeps what it has.
before=$(chip finished)
word 0x00 0x6e07
wait_until 30 eval "(( \$(chip finished) >= before + 10 ))"
chip plugged 0
counted=$(($(chip finished) - before))
expect "counts of an unplugged chip" "$counted" "$(sleep 1; echo $(($(chip finished) - before)))"
joules=$(($(chip energy) / 1000))
((joules >= counted * 344 / 100 - 1)) || fail "$joules J in $counted cycles"
chip plugged 1

# A multiplexer: the chips behind it answer one at a time, as its register says. It takes any byte for that, a register number, too.
refuses i2c-word /dev/i2c-1 0x70 0
chip=1/mux chip plugged 1
for channel in 0 3; do
    chip=1/mux/$channel chip plugged 1
    chip=1/mux/$channel sees "0x100$channel" 0
done
chip plugged 0
refuses word 0x02
for channel in 0 3; do
    control=$((1 << channel))
    expect "control, twice" "$(printf '0x%02x%02x' $control $control)" "$(i2c-word /dev/i2c-1 0x70 $control)"
    expect "control" "$control" "$(($(chip=1/mux chip control)))"
    wait_until 5 eval "[[ \$(word 0x02) == 0x100$channel ]]"
done
i2c-word /dev/i2c-1 0x70 0
refuses word 0x02
chip=1/mux chip plugged 0
chip plugged 1

# Nobody there, unplugged, and errors of one's choice: 110 for two transfers.
address=0x41 refuses word 0x00
says "Remote I/O error"
chip plugged 0
refuses word 0x00
says "Remote I/O error"
chip plugged 1
chip failures 2
chip errno 110
refuses word 0x00
says "timed out"
refuses word 0x00
word 0x00

# A transfer that hangs goes on when it may, and can be killed.
chip hang Y
word 0x00 >/run/answer &
sleep 2
expect "answer of a hanging transfer" "" "$(cat /run/answer)"
chip hang N
wait %1
expect "answer after all" 0x6127 "$(cat /run/answer)"
chip hang Y
word 0x00 &
sleep 1
kill -KILL $!
wait_until 5 eval "! kill -0 $!"
chip hang N
