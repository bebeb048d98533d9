#!/bin/bash
# A reload with an invalid configuration fails, logs why and changes nothing; the corrected file is
# applied. This needs no program of procps, which the package does not depend on.
. scenarios/lib.sh
rm /bin/kill
start_service
expect "last reload successful" 1 "$(metric ina260_exporter_config_last_reload_successful)"
pid=$(property MainPID)

mark_journal
configure 'device = "orin"' 'address = 0x50' 'colour = "blue"'
must_fail systemctl reload "$service"
wait_until 10 shows ina260_exporter_config_last_reload_successful 0
journal
wait_until 5 logged "0x50"
wait_until 5 logged "colour"
expect "main process" "$pid" "$(property MainPID)"
expect "voltage of the unchanged sensor" 12 "$(metric ina260_voltage 'device="deepx"')"
results=$(metric ina260_results_total)
wait_until 10 above ina260_results_total "$results"

# Renaming a sensor keeps its counters.
results=$(metric ina260_results_total)
configure 'device = "orin"'
systemctl reload "$service"
wait_until 10 shows ina260_exporter_config_last_reload_successful 1
wait_until 10 shows ina260_voltage 12 'device="orin"'
wait_until 10 lacks ina260_voltage 'device="deepx"'
above ina260_results_total "$((results - 1))" 'device="orin"' ||
    fail "results fell from $results to $(metric ina260_results_total)"
expect "main process" "$pid" "$(property MainPID)"
expect "state" active "$(property ActiveState)"
