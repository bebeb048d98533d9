#!/bin/bash
# A machine without a battery-backed clock boots in 1970. Times from before the clock was set are
# right once it is set. The start of the process is shown under the unit's ProcSubset=pid.
. scenarios/lib.sh
# close METRIC SECONDS: returns whether the Unix time of a metric is within a minute of SECONDS.
close() {
    local value
    value=$(metric "$1")
    ((${value%.*} > $2 - 60 && ${value%.*} < $2 + 60))
}
reload=ina260_exporter_config_last_reload_success_timestamp_seconds

set_at=$SECONDS real=$(date +%s)
date --set @100000
start_service
close process_start_time_seconds 100000 || fail "start: $(series process_start_time_seconds)"
close "$reload" 100000 || fail "reload: $(series "$reload")"

date --set "@$((real + SECONDS - set_at))"
for time in process_start_time_seconds "$reload" ina260_last_result_timestamp_seconds; do
    wait_until 10 close "$time" "$real"
done
# A fraction of a second: the process has run for far less than a whole one.
wait_until 60 eval '[[ $(metric process_cpu_seconds_total) == *.* ]]'
