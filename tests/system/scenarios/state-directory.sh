#!/bin/bash
# A second instance with the same state directory keeps no counters, and those of the first are not
# lost. A FIFO or a link in place of the saved counters blocks neither start nor stop.
# on one release
. scenarios/lib.sh
state=/var/lib/private/ina260-exporter
start_service 'interval = "100ms"'
wait_until 20 above ina260_results_total 50
chip=1/0x41 chip plugged 1
STATE_DIRECTORY=$state ina260-exporter --listen 127.0.0.1:8001 --address 0x41 2>second.log &
second=$!
wait_until 20 grep --quiet serving second.log
grep "state directory $state is in use by another instance; counters are not kept" second.log
kill "$second"
wait "$second"
expect "files of saved counters" "" "$(find "$state" -type f)"
results=$(metric ina260_results_total)
systemctl restart "$service"
wait_until 20 above ina260_results_total "$((results - 1))"

for create in mkfifo "ln --symbolic /dev/zero" mkdir; do
    systemctl stop "$service"
    rm -rf "${state:?}"/totals*
    $create "$state/totals"
    $create "$state/totals.new"
    mark_journal
    systemctl start "$service"
    wait_until 20 shows ina260_voltage 12
    logged "kept as /var/lib/ina260-exporter/totals.refused" || fail "$create: $(journal)"
    # A directory cannot be replaced by a file.
    [[ $create == mkdir ]] && rm -rf "${state:?}"/totals.new
    systemctl stop "$service"
    property_is Result success || fail "$create: the service failed"
    [[ -f $state/totals && ! -L $state/totals ]] || fail "$create: $(ls -l "$state")"
done
