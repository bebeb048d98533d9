#!/bin/bash
# An upgrade restarts a service that runs, keeps the configuration and the counters, and leaves a stopped one stopped; a removal stops it.
. scenarios/lib.sh
begin
configure 'device = "orin"'
systemctl restart "$service"
wait_until 20 shows ina260_voltage 12 'device="orin"'
pid=$(property MainPID)

# newer SUFFIX: the package again, with a higher version
newer() {
    dpkg-deb --raw-extract "$package" newer
    sed -i "s/^Version: .*/&$1/" newer/DEBIAN/control
    dpkg-deb -Znone --root-owner-group --build newer "./newer$1.deb" >/dev/null
    rm -r newer
}
newer +1
newer +2

wait_until 20 above ina260_results_total 4
results=$(metric ina260_results_total)
install_package ./newer+1.deb
wait_until 20 shows ina260_voltage 12 'device="orin"'
[[ $(property MainPID) != "$pid" ]] || fail "the upgrade did not restart the service"
above ina260_results_total "$((results - 1))" || fail "results fell from $results to $(metric ina260_results_total)"
expect "the unit" "active enabled" "$(property ActiveState) $(property UnitFileState)"

systemctl stop "$service"
install_package ./newer+2.deb
expect "the stopped unit" "inactive enabled" "$(property ActiveState) $(property UnitFileState)"

systemctl start "$service"
wait_until 20 shows ina260_voltage 12 'device="orin"'
apt-get --quiet --quiet --yes remove "$service" 2>&1
refuses pgrep --exact ina260-exporter
refuses scrape
expect "the configuration" 'device = "orin"' "$(cat "$configuration")"

# It is back as it was left.
install_package ./newer+2.deb
systemctl enable --quiet --now "$service"
wait_until 20 shows ina260_voltage 12 'device="orin"'
