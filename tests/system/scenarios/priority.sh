#!/bin/bash
# With the drop-in of docs/settings.md all threads of the service go before ordinary ones, in the sandbox as well.
# on one release
. scenarios/lib.sh
drop_in=/etc/systemd/system/$service.service.d/override.conf
mkdir "${drop_in%/*}"
sed -n '/^\[Service\]$/,/^CPUSchedulingPriority=/p' "/usr/share/doc/$service/docs/settings.md" >"$drop_in"
systemctl daemon-reload
begin
expect "their policies and priorities" "FF 10" "$(ps -L --pid "$(property MainPID)" --no-headers --format policy:1,rtprio:1 | tr --squeeze-repeats ' ' | sort --unique)"
