#!/bin/bash
# The drop-in of SECURITY.md restricts the service to one bus and to the listed clients.
. scenarios/lib.sh
rmmod ina260-bus
modprobe ina260-bus buses=2
udevadm settle
drop_in=/etc/systemd/system/$service.service.d/restrict.conf
# A client with an address that is not listed.
ip link add outside type dummy
ip address add 198.51.100.1/24 dev outside
ip link set outside up
outside() {
    curl --silent --fail --max-time 5 http://198.51.100.1:8000/metrics
}

start_service
outside >/dev/null || fail "not served to all without the drop-in"
mkdir -p "${drop_in%/*}"
awk '/^```ini$/ { inside = 1; next } /^```$/ { inside = 0 } inside' \
    "/usr/share/doc/$service/SECURITY.md" >"$drop_in"
grep --quiet '^DeviceAllow=/dev/i2c-1 ' "$drop_in" || fail "no drop-in in SECURITY.md"
systemctl daemon-reload

systemctl restart "$service"
wait_until 20 shows ina260_voltage 12
must_fail outside

configure 'bus = 2'
mark_journal
must_fail systemctl restart "$service"
wait_until 20 logged "/dev/i2c-2: permission denied"
# Without the drop-in, that bus works.
rm "$drop_in"
systemctl daemon-reload
systemctl restart "$service"
wait_until 20 shows ina260_up 1
