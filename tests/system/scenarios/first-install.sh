#!/bin/bash
# The bus belongs to the group i2c when `apt install` returns, and the first start works, even if
# udev reads the package's rule between unpacking and configuring.
# on the bare system
. scenarios/lib.sh
enable_i2c
set_load 0x2580 0x0320

must_fail getent group i2c
expect "device node before" "root root 600" "$(stat --format '%U %G %a' /dev/i2c-1)"

# dpkg, which apt runs once to unpack and once to configure, runs this at its end: an event of an
# unrelated device. udev looks for changed rules at most every 3 s, when an event arrives.
cat >/usr/local/sbin/event <<'END'
#!/bin/sh
dpkg-query --show --showformat '${db:Status-Status}\n' ina260-exporter >>/run/states
sleep 4
udevadm trigger --settle --action=change /sys/devices/virtual/mem/null
END
chmod 755 /usr/local/sbin/event
echo post-invoke=/usr/local/sbin/event >/etc/dpkg/dpkg.cfg.d/event

apt --yes install "$package" 2>&1

expect "state of the package at the first event" unpacked "$(head --lines=1 /run/states)"
expect "device node" "root i2c 660" "$(stat --format '%U %G %a' /dev/i2c-1)"
journal_of_udev() {
    journalctl --quiet --no-pager --output=cat --unit=systemd-udevd
}
[[ $(journal_of_udev) != *"Unknown group 'i2c'"* ]] || fail "udev ignores the group"
systemctl enable --quiet --now "$service"
wait_until 20 shows ina260_voltage 12
expect "restarts" 0 "$(property NRestarts)"

# A device that appears later belongs to the group, too.
systemctl stop "$service"
rmmod ina260-bus
modprobe ina260-bus
udevadm settle
expect "new device node" "root i2c 660" "$(stat --format '%U %G %a' /dev/i2c-1)"

# Without the group, as after a removal by hand, a reinstallation creates it again.
groupdel i2c
apt --yes --reinstall install "$package" 2>&1
expect "device node after a reinstallation" "root i2c 660" \
    "$(stat --format '%U %G %a' /dev/i2c-1)"
