#!/bin/bash
# With a Unix socket, a web server's user can scrape it, and there is no TCP listener.
. scenarios/lib.sh
set_load 0x2580 0x0320
socket=/run/ina260-exporter/metrics.sock
configure "listen = \"unix:$socket\""
systemctl enable --quiet --now "$service"

as_www_data() {
    runuser -u www-data -- curl --silent --show-error --fail --max-time 5 \
        --unix-socket "$socket" http://localhost/metrics
}
has_voltage() {
    [[ $(as_www_data | grep '^ina260_voltage{') == *" 12" ]]
}
wait_until 15 has_voltage
stat --format '%U %G %a %n' "$socket"
expect "TCP listeners" "" "$(ss --no-header --listening --tcp)"

# The socket's mode keeps other users out.
configure "listen = \"unix:$socket\"" 'socket_mode = "0600"'
systemctl restart "$service"
wait_until 15 eval "[[ \$(stat --format %a $socket) == 600 ]]"
must_fail as_www_data
curl --silent --fail --unix-socket "$socket" http://localhost/metrics >/dev/null

# A stop removes the socket; one left by a killed service does not prevent a start.
systemctl stop "$service"
must_fail test -e "$socket"
configure "listen = \"unix:$socket\""
systemctl kill --signal=KILL "$service" || true
systemctl start "$service"
wait_until 15 has_voltage
systemctl kill --signal=KILL "$service"
wait_until 30 has_voltage
