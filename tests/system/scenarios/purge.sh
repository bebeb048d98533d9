#!/bin/bash
# A purge leaves no file, no user and no process, only the system group i2c, which other packages
# share.
# on the bare system
. scenarios/lib.sh

# Lists the system's files without the data of apt, dpkg, udev and the journal.
files() {
    find / -xdev \( -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache -o \
        -path /var/log -o -path /tmp -o -path /root \) -prune -o -print | sort
    find /run -mindepth 1 \( -path /run/system-test -o -path /run/udev -o \
        -path /run/systemd/journal -o -path /run/systemd/dynamic-uid -o \
        -path /run/systemd/ask-password-block \) -prune -o -print | sort
}
enable_i2c
files >/tmp/before
cp /etc/passwd /etc/group /tmp

install_package
set_load 0x2580 0x0320
systemctl enable --quiet --now "$service"
wait_until 20 shows ina260_voltage 12
systemctl restart "$service"
wait_until 20 shows ina260_voltage 12
files >/tmp/between
! cmp --quiet /tmp/before /tmp/between || fail "the list of files does not show the package"

apt-get --quiet --quiet --yes purge "$service" 2>&1

must_fail pgrep --exact ina260-exporter
must_fail getent passwd ina260-exporter
files >/tmp/after
expect "files left" "" "$(diff /tmp/before /tmp/after | grep '^[<>]' || true)"
expect "data of apt, dpkg and systemd left" "" \
    "$(find /var/lib/dpkg /var/lib/systemd /var/cache -name '*ina260*')"
expect "users" "" "$(diff /tmp/passwd /etc/passwd || true)"
expect "groups" "> i2c" \
    "$(diff /tmp/group /etc/group | sed -n 's/^\([<>][^:]*\):.*/\1/p' || true)"
expect "unit" not-found "$(property LoadState)"
