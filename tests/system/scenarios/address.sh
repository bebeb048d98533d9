#!/bin/bash
# Sensors are measured whether or not the address to listen on exists: IPv6 disabled, a link-local
# address, an address that appears and disappears.
# on one release
. scenarios/lib.sh
set_load 0x2580 0x0320
pid() {
    property MainPID
}
scrape_at() {
    curl --silent --show-error --fail --globoff --max-time 5 "http://$1/metrics"
}

# A dual-stack listener serves IPv4 where IPv6 is disabled.
sysctl --quiet --write net.ipv6.conf.all.disable_ipv6=1
configure 'listen = "[::]:8000"'
systemctl enable --quiet --now "$service"
wait_until 20 shows ina260_voltage 12
first=$(pid)
sleep 20
expect "process" "$first" "$(pid)"
expect "restarts" 0 "$(metric ina260_exporter_listener_restarts_total 'cause="unresponsive"')"
sysctl --quiet --write net.ipv6.conf.all.disable_ipv6=0

# A link-local address, with the index of its interface.
ip address add fe80::260/64 dev lo
configure 'listen = "[fe80::260%1]:8000"'
systemctl reload "$service"
wait_until 20 scrape_at '[fe80::260%25lo]:8000'
sleep 20
scrape_at '[fe80::260%25lo]:8000' | grep 'listener_restarts_total{cause="unresponsive"} 0'
expect "process" "$first" "$(pid)"

# An address that does not exist at start-up.
configure 'listen = "192.0.2.1:8000"'
mark_journal
systemctl restart "$service"
property_is ActiveState active || fail "not ready without its address"
first=$(pid)
wait_until 20 eval "[[ \$(property StatusText) == *'12.000 V'* ]]"
ip address add 192.0.2.1/24 dev lo
wait_until 15 scrape_at 192.0.2.1:8000
wait_until 15 logged "the HTTP listener at 192.0.2.1:8000 is responding"
results() {
    scrape_at 192.0.2.1:8000 | sed --quiet 's/^ina260_results_total{.*} //p'
}
before=$(results)

# It disappears, and returns.
ip address delete 192.0.2.1/24 dev lo
wait_until 40 logged "lost its address"
sleep 5
ip address add 192.0.2.1/24 dev lo
wait_until 15 scrape_at 192.0.2.1:8000
(($(results) >= before + 15)) || fail "results went from $before to $(results)"
scrape_at 192.0.2.1:8000 | grep 'listener_restarts_total{cause="address"} 1'
expect "process" "$first" "$(pid)"
journal
