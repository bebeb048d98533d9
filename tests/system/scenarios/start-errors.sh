#!/bin/bash
# Messages and exit codes when there is no sensor to measure, or the user may not access it.
# on one release
. scenarios/lib.sh

# exits CODE COMMAND...: fails unless COMMAND exits with CODE; its output is in $output.
exits() {
    local code=0
    output=$(timeout 20 "${@:2}" 2>&1) || code=$?
    echo "--- $code: $output"
    [[ $code == "$1" ]] || fail "'${*:2}' exits with $code, not $1"
}
# No I2C bus.
modprobe --remove --quiet i2c-dev || true
rmmod ina260-bus
exits 69 ina260-exporter
output_has raspi-config
output_has dtparam=i2c_arm=on
output_has "modprobe i2c-dev"

# The configured bus does not exist, but another one does.
modprobe ina260-bus
enable_i2c
exits 69 ina260-exporter --bus 7
output_has /dev/i2c-7
output_has i2c-1

# A user who is not in the group.
exits 69 runuser -u nobody -- ina260-exporter
output_has i2c

# No sensor at the configured address, but at another.
chip plugged 0
chip=1/0x45 chip plugged 1
exits 69 ina260-exporter
output_has 0x40
output_has 0x45

# Another chip at the address, without --wait-for-sensor: nothing to measure.
chip manufacturer 0x0054
chip plugged 1
exits 69 ina260-exporter
output_has "manufacturer 0x0054"
output_has 0x2270
output_has "INA260s respond at bus 1, 0x45"

# An unknown option, an invalid and a missing configuration file, a port in use.
exits 2 ina260-exporter --colour blue
echo 'address = 0x50' >/tmp/bad.toml
exits 78 ina260-exporter --config /tmp/bad.toml
output_has "/tmp/bad.toml: "
output_has "an integer from 0x40 to 0x4f"
exits 78 ina260-exporter --config /tmp/missing.toml
# A link without a file, as on a disk that is not mounted, does not mean the defaults.
ln --symbolic --force /tmp/missing.toml "$configuration"
exits 78 ina260-exporter --check-config
output_has "$configuration: cannot be read"
rm "$configuration"
ina260-exporter --check-config --quiet
chip manufacturer 0x5449
ina260-exporter --port 8001 >/dev/null 2>&1 &
first=$!
wait_until 20 curl --silent --fail http://localhost:8001/metrics
exits 1 ina260-exporter --port 8001
output_has 8001
kill "$first"
