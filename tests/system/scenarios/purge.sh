#!/bin/bash
# A purge leaves no file, no user and no running process: only the system group i2c, which others use as well.
# on the bare system
. scenarios/lib.sh

# What the system consists of, without what apt, dpkg and the journal keep for themselves.
files() {
    find / -xdev \( -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache -o -path /var/log -o -path /tmp -o -path /root \) -prune -o -print | sort
    find /run -mindepth 1 \( -path /run/system-test -o -path /run/udev -o -path /run/systemd/journal -o -path /run/systemd/dynamic-uid -o -path /run/systemd/ask-password-block \) -prune -o -print | sort
}
enable_i2c
files >/tmp/before
cp /etc/passwd /etc/group /tmp

install_package
sees 0x2580 0x0320
systemctl enable --quiet --now "$service"
wait_until 20 shows ina260_voltage 12
systemctl restart "$service"
wait_until 20 shows ina260_voltage 12
files >/tmp/between
! cmp --quiet /tmp/before /tmp/between || fail "the package left no trace while it was there"

apt-get --quiet --quiet --yes purge "$service" 2>&1

refuses pgrep --exact ina260-exporter
refuses getent passwd ina260-exporter
files >/tmp/after
expect "what is left" "" "$(diff /tmp/before /tmp/after | grep '^[<>]' || true)"
expect "what apt and dpkg keep of it" "" "$(find /var/lib/dpkg /var/lib/systemd /var/cache -name '*ina260*')"
expect "users" "" "$(diff /tmp/passwd /etc/passwd || true)"
expect "groups" "> i2c" "$(diff /tmp/group /etc/group | sed -n 's/^\([<>][^:]*\):.*/\1/p' || true)"
expect "the unit" not-found "$(property LoadState)"
