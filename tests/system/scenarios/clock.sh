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

# The SECONDS of bash follow the clock, which this scenario sets.
uptime() {
    cut --delimiter=. --fields=1 /proc/uptime
}
boot=$(($(date +%s) - $(uptime)))
date --set @100000
start_service
close process_start_time_seconds 100000 || fail "start: $(series process_start_time_seconds)"
close "$reload" 100000 || fail "reload: $(series "$reload")"

real=$((boot + $(uptime)))
date --set "@$real"
for time in process_start_time_seconds "$reload" ina260_last_result_timestamp_seconds; do
    wait_until 10 close "$time" "$real"
done
# The processor time includes fractions of a second: it is still far below a whole one.
has_fraction() {
    [[ $(metric process_cpu_seconds_total) == *.* ]]
}
wait_until 60 has_fraction
