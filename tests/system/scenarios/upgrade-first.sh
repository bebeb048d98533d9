#!/bin/bash
# An upgrade from version 0.1.0 keeps the counters, an edited configuration, the socket and the
# enabled state, and a reload works. The counters saved by 0.1.0 are restored once.
# on the bare system
# on amd64
# on one release
# seconds: 600
. scenarios/lib.sh
socket=/run/ina260-exporter/metrics.sock
scrape() {
    curl --silent --show-error --fail --max-time 5 --unix-socket $socket http://localhost/metrics
}
# total NAME [LABEL...]: prints a counter of the sensor.
total() {
    metric "ina260_$1_total" 'device="orin"' "${@:2}"
}
lines=("listen = \"unix:$socket\"" 'interval = "500ms"' 'device = "orin"' 'hostname = "pi4"')

enable_i2c
install_package ./first-release.deb
expect "version" 0.1.0 "$(dpkg-query --show --showformat '${Version}' "$service")"
start_service "${lines[@]}"
wait_until 60 above ina260_results_total 40 'device="orin"'
wait_until 60 above ina260_energy_joules_total 100 'device="orin"' 'direction="forward"'
pid=$(property MainPID)
results=$(total results) joules=$(total energy_joules 'direction="forward"')
measured=$(total measured_seconds)

install_package
[[ $(property MainPID) != "$pid" ]] || fail "the service was not restarted"
expect "unit" "active enabled" "$(property ActiveState) $(property UnitFileState)"
expect "configuration" "$(printf '%s\n' "${lines[@]}")" "$(cat "$configuration")"
wait_until 20 shows ina260_voltage 12 'device="orin"' 'hostname="pi4"'
series ina260_exporter_build_info 'version="0.2'
for counter in "results $results" "measured_seconds $measured" \
    "energy_joules $joules direction=\"forward\""; do
    read -r name before label <<<"$counter"
    now=$(total "$name" "${label:-device=}")
    echo "$name: $before before, $now now"
    # A minute of results at most: the file was read, and not twice.
    ((now >= before && now < 3 * before)) || fail "$name went from $before to $now"
done
if logged "cannot restore saved counters"; then
    fail "$(journal)"
fi
expect "files of saved counters" "" "$(find /var/lib/private/ina260-exporter -type f)"

# A reload of a configuration in the format of 0.1.0.
set_load 0x2260 0xfce0
configure "${lines[@]/orin/nvme}"
systemctl reload "$service"
wait_until 20 shows ina260_voltage 11 'device="nvme"'
wait_until 20 lacks ina260_up 'device="orin"'

# The counters of 0.1.0 are restored only once: after a crash they do not come back.
mark_journal
systemctl kill --signal=KILL "$service"
wait_until 40 logged "serving 1 sensor"
wait_until 20 shows ina260_up 1 'device="nvme"'
(($(metric ina260_results_total 'device="nvme"') < results)) || fail "old counters came back"
