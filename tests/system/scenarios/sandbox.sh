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
