#!/bin/bash
# The drop-in of docs/settings.md gives all threads of the sandboxed service real-time priority.
# on one release
. scenarios/lib.sh
drop_in=/etc/systemd/system/$service.service.d/override.conf
mkdir "${drop_in%/*}"
sed -n '/^\[Service\]$/,/^CPUSchedulingPriority=/p' \
    "/usr/share/doc/$service/docs/settings.md" >"$drop_in"
systemctl daemon-reload
start_service
threads=$(ps -L --pid "$(property MainPID)" --no-headers --format policy:1,rtprio:1)
expect "scheduling policies and priorities" "FF 10" \
    "$(tr --squeeze-repeats ' ' <<<"$threads" | sort --unique)"
