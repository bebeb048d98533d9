#!/bin/bash
# The package on a system that has I2C and nothing of ours: it brings the group, applies its rule to the nodes that are
# there, and leaves the service to its user.
# on the bare system
. scenarios/lib.sh
enable_i2c

refuses getent group i2c
refuses command -v i2cdetect
expect "the node before" "root root 600" "$(stat --format '%U %G %a' /dev/i2c-1)"

apt --yes install "$package" 2>&1

expect "the node after" "root i2c 660" "$(stat --format '%U %G %a' /dev/i2c-1)"
group=$(getent group i2c | cut --delimiter=: --fields=3)
((group < 1000)) || fail "group i2c is $group, no system group"
expect "the service" "inactive disabled" "$(property ActiveState) $(property UnitFileState)"
expect "the configuration" "root root 644" "$(stat --format '%U %G %a' "$configuration")"
expect "conffiles" "$configuration" "$(dpkg-query --show --showformat '${Conffiles}' "$service" | awk '{ print $1 }')"
ina260-exporter --version
ina260-exporter --check-config >/dev/null
test -s /usr/share/man/man8/ina260-exporter.8.gz -a -s /usr/share/man/man5/ina260-exporter.toml.5.gz

# Once more over it changes nothing.
apt --yes --reinstall install "$package" 2>&1
expect "the service" "inactive disabled" "$(property ActiveState) $(property UnitFileState)"
expect "files that packages own and somebody changed" "" "$(dpkg --verify "$service")"
