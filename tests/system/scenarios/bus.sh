#!/bin/bash
# The bus of these scenarios itself: it behaves as the sensor's data sheet says.
. scenarios/lib.sh
enable_i2c

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
