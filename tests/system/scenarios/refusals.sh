#!/bin/bash
# What the command says and returns where there is nothing to measure, or not for this user.
# on one release
. scenarios/lib.sh

# exits CODE COMMAND...
exits() {
    local code=0
    said=$(timeout 20 "${@:2}" 2>&1) || code=$?
    echo "--- $code: $said"
    [[ $code == "$1" ]] || fail "'${*:2}' exits with $code, not $1"
}
# A machine without a bus.
modprobe --remove --quiet i2c-dev || true
rmmod ina260-bus
exits 69 ina260-exporter
says raspi-config
says dtparam=i2c_arm=on
says "modprobe i2c-dev"

# Another bus than the one asked for.
modprobe ina260-bus
enable_i2c
exits 69 ina260-exporter --bus 7
says /dev/i2c-7
says i2c-1

# A user who is not in the group.
exits 69 runuser -u nobody -- ina260-exporter || exits 1 runuser -u nobody -- ina260-exporter
says i2c

# Nobody at the address, but at others.
chip plugged 0
chip=1/0x45 chip plugged 1
exits 69 ina260-exporter
says 0x40
says 0x45

# Something else there: whoever put it there can take it away, so the daemon waits until `timeout` ends it.
chip manufacturer 0x0054
chip plugged 1
exits 124 ina260-exporter
says "manufacturer 0x0054"
says 0x2270

# Wrong usage, a bad file, a missing one, a port that is taken.
exits 2 ina260-exporter --colour blue
echo 'address = 0x50' >/tmp/bad.toml
exits 78 ina260-exporter --config /tmp/bad.toml
says "/tmp/bad.toml: "
says "0x40..=0x4f"
exits 78 ina260-exporter --config /tmp/missing.toml
chip manufacturer 0x5449
ina260-exporter --port 8001 >/dev/null 2>&1 &
first=$!
wait_until 20 curl --silent --fail http://localhost:8001/metrics
exits 1 ina260-exporter --port 8001
says 8001
kill "$first"
