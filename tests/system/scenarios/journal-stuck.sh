#!/bin/bash
# While the journal does not respond, measuring and scrapes go on, and the service can be stopped.
# Dropped messages are counted.
# on one release
# seconds: 600
. scenarios/lib.sh
# Otherwise journald drops messages, too.
mkdir --parents "/run/systemd/system/$service.service.d"
printf '[Service]\nLogRateLimitIntervalSec=0\n' >"/run/systemd/system/$service.service.d/log.conf"
systemctl daemon-reload
start_service 'interval = "5ms"' 'log = "trace"'
wait_until 20 above ina260_results_total 100
pid=$(property MainPID)
mark_journal

systemctl kill --signal=STOP systemd-journald
# 12,000 results are at least 36,000 messages of 33 bytes, more than the queue's 1 MiB. They take
# a minute, and must take less than the three minutes of journald's watchdog.
for _ in {1..40}; do
    results=$(metric ina260_results_total)
    wait_until 20 above ina260_results_total "$((results + 300))"
done
systemctl kill --signal=CONT systemd-journald
# This message follows the queued ones: a slow machine writes a hundred a second, fewer while the
# whole journal is read.
reports_dropped_messages() {
    [[ $(journal --priority=warning) == *"log messages dropped since start-up"* ]]
}
wait_until 300 reports_dropped_messages

# A stop does not wait for journald.
systemctl kill --signal=STOP systemd-journald
results=$(metric ina260_results_total)
wait_until 30 above ina260_results_total "$((results + 1000))"
kill -TERM "$pid"
wait_until 10 eval "! kill -0 $pid"
systemctl kill --signal=CONT systemd-journald
wait_until 20 property_is ActiveState inactive
property_is Result success || fail "the service failed"
