#!/bin/bash
# A web server's user reads the Unix socket; and nobody listens on TCP then.
. scenarios/lib.sh
sees 0x2580 0x0320
socket=/run/ina260-exporter/metrics.sock
configure "listen = \"unix:$socket\""
systemctl enable --quiet --now "$service"

as_www_data() {
    runuser -u www-data -- curl --silent --show-error --fail --max-time 5 --unix-socket "$socket" http://localhost/metrics
}
has_voltage() {
    [[ $(as_www_data | grep '^ina260_voltage{') == *" 12" ]]
}
wait_until 15 has_voltage
stat --format '%U %G %a %n' "$socket"
expect "listeners on TCP" "" "$(ss --no-header --listening --tcp)"

# Whoever may only look at the socket is kept out by the socket's mode.
configure "listen = \"unix:$socket\"" 'socket_mode = "0600"'
systemctl restart "$service"
wait_until 15 eval "[[ \$(stat --format %a $socket) == 600 ]]"
refuses as_www_data
curl --silent --fail --unix-socket "$socket" http://localhost/metrics >/dev/null

# It ends and begins again without a leftover in its way.
systemctl stop "$service"
refuses test -e "$socket"
configure "listen = \"unix:$socket\""
systemctl kill --signal=KILL "$service" || true
systemctl start "$service"
wait_until 15 has_voltage
systemctl kill --signal=KILL "$service"
wait_until 30 has_voltage
