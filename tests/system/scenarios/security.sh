#!/bin/bash
# The sandbox: systemd's own measure of it, and what it means for the process that runs in it.
. scenarios/lib.sh
begin

systemd-analyze security --no-pager "$service" | tail -1
systemd-analyze security --no-pager --threshold=13 "$service" >/dev/null || fail "above 1.3: $(systemd-analyze security --no-pager "$service")"

pid=$(property MainPID)
expect "capabilities" 0000000000000000 "$(sed -n 's/^CapEff:\t//p' "/proc/$pid/status")"
expect "new privileges are forbidden" 1 "$(sed -n 's/^NoNewPrivs:\t//p' "/proc/$pid/status")"
expect "system call filter" 2 "$(sed -n 's/^Seccomp:\t//p' "/proc/$pid/status")"
[[ $(stat --format %u "/proc/$pid") != 0 ]] || fail "it runs as root"
refuses nsenter --target "$pid" --mount touch /etc/ina260-exporter.toml
says "Read-only file system"
