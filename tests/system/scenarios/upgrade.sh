#!/bin/bash
# An upgrade or downgrade restarts a running service and keeps an edited configuration, the counters
# and the enabled state. A stopped service stays stopped. A removal stops the service.
# seconds: 600
. scenarios/lib.sh
start_service 'device = "orin"'
older=$(bash package/older "$package" .)

# upgrade_to PACKAGE: installs it and checks that the service was restarted as this version.
upgrade_to() {
    local pid results
    pid=$(property MainPID)
    wait_until 20 shows ina260_voltage 12 'device="orin"'
    wait_until 20 above ina260_results_total 4
    results=$(metric ina260_results_total)
    install_package "$1"
    expect "version" "$(dpkg-deb --field "$1" Version)" \
        "$(dpkg-query --show --showformat '${Version}' "$service")"
    wait_until 20 shows ina260_voltage 12 'device="orin"'
    [[ $(property MainPID) != "$pid" ]] || fail "the service was not restarted"
    above ina260_results_total "$((results - 1))" ||
        fail "results fell from $results to $(metric ina260_results_total)"
    expect "unit" "active enabled" "$(property ActiveState) $(property UnitFileState)"
    expect "configuration" 'device = "orin"' "$(cat "$configuration")"
}
upgrade_to "$older"
upgrade_to "$package"

systemctl stop "$service"
install_package "$older"
expect "stopped unit" "inactive enabled" "$(property ActiveState) $(property UnitFileState)"

systemctl start "$service"
wait_until 20 shows ina260_voltage 12 'device="orin"'
expect "messages of a removal" "" "$(dpkg --remove "$service" 2>&1 >/dev/null)"
must_fail pgrep --exact ina260-exporter
must_fail scrape
expect "configuration" 'device = "orin"' "$(cat "$configuration")"

# A reinstallation restores the enabled state; an upgrade does not enable a disabled unit.
install_package "$older"
systemctl disable --quiet "$service"
install_package
expect "disabled unit" "inactive disabled" "$(property ActiveState) $(property UnitFileState)"
systemctl enable --quiet --now "$service"
wait_until 20 shows ina260_voltage 12 'device="orin"'
