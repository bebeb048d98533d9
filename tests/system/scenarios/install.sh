#!/bin/bash
# Installing the package on a system that has I2C creates the group, applies the udev rule to the
# existing device nodes, and neither enables nor starts the service. A removal prints no errors.
# on the bare system
. scenarios/lib.sh
enable_i2c

must_fail getent group i2c
must_fail command -v i2cdetect
expect "device node before" "root root 600" "$(stat --format '%U %G %a' /dev/i2c-1)"

apt --yes install "$package" 2>&1

expect "device node after" "root i2c 660" "$(stat --format '%U %G %a' /dev/i2c-1)"
group=$(getent group i2c | cut --delimiter=: --fields=3)
((group < 1000)) || fail "group i2c has the ID $group and is not a system group"
expect "service" "inactive disabled" "$(property ActiveState) $(property UnitFileState)"
expect "configuration file" "root root 644" "$(stat --format '%U %G %a' "$configuration")"
expect "conffiles" "$configuration" \
    "$(dpkg-query --show --showformat '${Conffiles}' "$service" | awk '{ print $1 }')"
ina260-exporter --version
ina260-exporter --check-config >/dev/null
test -s /usr/share/man/man8/ina260-exporter.8.gz
test -s /usr/share/man/man5/ina260-exporter.toml.5.gz

# Reinstalling changes nothing.
apt --yes --reinstall install "$package" 2>&1
expect "service" "inactive disabled" "$(property ActiveState) $(property UnitFileState)"
expect "modified files of the package" "" "$(dpkg --verify "$service")"

# The README's command installs a package that was built again with the same version.
dpkg-deb --raw-extract "$package" again
echo '# Another build.' >>again/usr/share/bash-completion/completions/ina260-exporter
mkdir dist
dpkg-deb --root-owner-group --build again dist/ina260-exporter.deb
command=$(sed -n '/^make deb$/ { n; s/^sudo //p }' "/usr/share/doc/$service/README.md")
echo y | bash -c "$command" 2>&1
grep --quiet 'Another build' /usr/share/bash-completion/completions/ina260-exporter ||
    fail "not installed by: $command"

# systemd has not loaded the unit of a service that was never started.
systemctl daemon-reload
expect "messages of a removal" "" "$(dpkg --remove "$service" 2>&1 >/dev/null)"
