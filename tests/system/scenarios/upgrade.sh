#!/bin/bash
# An upgrade, and a downgrade, restarts a service that runs, keeps an edited configuration, the counters, and what is enabled, and
# leaves a stopped service stopped; a removal stops it.
# seconds: 600
. scenarios/lib.sh
begin 'device = "orin"'
older=$(bash package/older "$package" .)

# goes_on_with PACKAGE: the service runs on, as this version
goes_on_with() {
    local pid results
    pid=$(property MainPID)
    wait_until 20 shows ina260_voltage 12 'device="orin"'
    wait_until 20 above ina260_results_total 4
    results=$(metric ina260_results_total)
    install_package "$1"
    expect "the version" "$(dpkg-deb --field "$1" Version)" "$(dpkg-query --show --showformat '${Version}' "$service")"
    wait_until 20 shows ina260_voltage 12 'device="orin"'
    [[ $(property MainPID) != "$pid" ]] || fail "the service was not restarted"
    above ina260_results_total "$((results - 1))" || fail "results fell from $results to $(metric ina260_results_total)"
    expect "the unit" "active enabled" "$(property ActiveState) $(property UnitFileState)"
    expect "the configuration" 'device = "orin"' "$(cat "$configuration")"
}
goes_on_with "$older"
goes_on_with "$package"

systemctl stop "$service"
install_package "$older"
expect "the stopped unit" "inactive enabled" "$(property ActiveState) $(property UnitFileState)"

systemctl start "$service"
wait_until 20 shows ina260_voltage 12 'device="orin"'
apt-get --quiet --quiet --yes remove "$service" 2>&1
refuses pgrep --exact ina260-exporter
refuses scrape
expect "the configuration" 'device = "orin"' "$(cat "$configuration")"

# It is back as it was left; where nobody enables it, an upgrade does not either.
install_package "$older"
systemctl disable --quiet "$service"
install_package
expect "the disabled unit" "inactive disabled" "$(property ActiveState) $(property UnitFileState)"
systemctl enable --quiet --now "$service"
wait_until 20 shows ina260_voltage 12 'device="orin"'
