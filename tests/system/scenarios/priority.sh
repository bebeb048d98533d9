#!/bin/bash
# All threads of the service go before ordinary ones, and with the drop-in of docs/settings.md before all of them, in the sandbox as well.
# on one release
. scenarios/lib.sh

# threads FORMAT: what they all are
threads() {
    ps -L --pid "$(property MainPID)" --no-headers --format "$1" | tr --squeeze-repeats " " | sort --unique
}
begin
expect "their niceness" -10 "$(threads nice:1)"

drop_in=/etc/systemd/system/$service.service.d/override.conf
mkdir "${drop_in%/*}"
sed -n '/^\[Service\]$/,/^CPUSchedulingPriority=/p' "/usr/share/doc/$service/docs/settings.md" >"$drop_in"
systemctl daemon-reload
systemctl restart "$service"
wait_until 20 shows ina260_voltage 12
expect "their policies and priorities" "FF 10" "$(threads policy:1,rtprio:1)"
