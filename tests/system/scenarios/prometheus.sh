#!/bin/bash
# Energy as computed by a real Prometheus is correct across a restart, and across kill -9 except for
# the interval that was cut off.
# seconds: 420
# on one release
. scenarios/lib.sh
start_service 'interval = "50ms"'
watts=12 cut=0 # joules that a kill may lose
load() {
    chip current 0x0320
}
no_load() {
    chip current 0
}

cat >prometheus.yml <<'Y'
global: { scrape_interval: 1s }
scrape_configs:
  - job_name: ina260
    static_configs: [{ targets: ["localhost:8000"] }]
Y
systemd-run --quiet --unit=prometheus prometheus --config.file="$PWD/prometheus.yml" \
    --storage.tsdb.path="$PWD/tsdb" --web.listen-address=127.0.0.1:9090

# samples NAME: prints the values of all raw samples.
samples() {
    curl --silent --show-error --fail --max-time 20 --get http://127.0.0.1:9090/api/v1/query \
        --data-urlencode "query=$1[1h]" |
        grep --only-matching --extended-regexp '"[0-9.e+]+"\]' | tr -d '"]'
}

# total NAME: prints the sum with counter resets corrected, as Prometheus does.
total() {
    samples "$1" | awk '
        NR == 1 { sum = $1 }
        NR > 1 { sum += $1 < last ? $1 : $1 - last }
        { last = $1 }
        END { print sum + 0 }'
}

# compare WHEN: compares Prometheus's total with the energy counted by the simulated chip. There is
# no load meanwhile, so both sums are constant.
compare() {
    local energy seen missed cycle
    no_load
    sleep 5
    energy=$(chip energy)
    seen=$(total 'ina260_energy_joules_total{direction="forward"}')
    missed=$(total ina260_results_missed_total)
    cycle=$((watts * 50)) # mJ, rounded up
    echo "$1: $((energy / 1000)) J, $seen J in $(samples ina260_up | wc --lines) samples;" \
        "$missed results missed; up to $cut J cut off"
    ((seen <= energy / 1000 + 2)) || fail "$1: $seen J are more than $((energy / 1000)) J"
    ((seen >= energy / 1000 - 2 - missed * cycle / 1000 - cut)) ||
        fail "$1: $seen J are less than $((energy / 1000)) J"
}

scraped() {
    (($(samples ina260_up | wc --lines) > 2))
}
wait_until 60 scraped
# Covers the energy from before the first scrape.
wait_until 60 above ina260_energy_joules_total 240 'direction="forward"'
compare "before"

# No load during the restart, so that the chip counts no energy that the service cannot read.
systemctl restart "$service"
wait_until 20 shows ina260_up 1
load
sleep 20
compare "after a restart"

systemctl kill --signal=KILL "$service"
wait_until 40 property_is NRestarts 1
wait_until 20 shows ina260_up 1
load
sleep 20
compare "after a kill that cut off nothing"

# The metrics are up to a second old, the last scrape another one, and the machine may be slow.
load
sleep 10
systemctl kill --signal=KILL "$service"
no_load
cut=$((3 * watts))
wait_until 40 property_is NRestarts 2
wait_until 20 shows ina260_up 1
load
sleep 20
compare "after a kill"
falls=$(samples 'ina260_energy_joules_total{direction="forward"}' |
    awk '$1 < last { falls++ } { last = $1 } END { print falls + 0 }')
expect "counter resets" 2 "$falls"
