#!/bin/bash
# The sandbox: systemd's exposure score, and its effect on the running process.
. scenarios/lib.sh
start_service

systemd-analyze security --no-pager "$service" | tail -1
systemd-analyze security --no-pager --threshold=13 "$service" >/dev/null ||
    fail "exposure above 1.3: $(systemd-analyze security --no-pager "$service")"

pid=$(property MainPID)
expect "capabilities" 0000000000000000 "$(sed -n 's/^CapEff:\t//p' "/proc/$pid/status")"
expect "NoNewPrivileges" 1 "$(sed -n 's/^NoNewPrivs:\t//p' "/proc/$pid/status")"
expect "seccomp mode" 2 "$(sed -n 's/^Seccomp:\t//p' "/proc/$pid/status")"
[[ $(stat --format %u "/proc/$pid") != 0 ]] || fail "the service runs as root"
must_fail nsenter --target "$pid" --mount touch /etc/ina260-exporter.toml
output_has "Read-only file system"

# The directories that the service's user may write to. /dev/mqueue is that of its IPC namespace.
user=$(stat --format %u "/proc/$pid")
expect "writable directories" "/dev/mqueue /run/ina260-exporter /tmp \
/var/lib/private/ina260-exporter /var/tmp" \
    "$(nsenter --target "$pid" --mount setpriv --reuid "$user" --regid "$user" --clear-groups \
        find / -path /proc -prune -o -type d -writable -print 2>/dev/null | sort | xargs)"
