#!/bin/bash
# Compares the cost of the daemon with that of the Python script that it replaces and of
# node_exporter: whole processes on the same bus, one after another. Prints figures and ratios; only
# asserts that each of them measured.
# seconds: 600
# on one release
# with peers
. scenarios/lib.sh
period=60
script=script
set_load 0x2580 0x0320
tree=/var/tmp/peers
tar --extract --file peers.tar.gz --directory "${tree%/*}"
for directory in dev proc sys; do
    mkdir -p "$tree/$directory"
    mount --rbind "/$directory" "$tree/$directory"
done

# The cost of a second, by name of the measurement.
declare -A processor wakeups resident anonymous transfers bus_thread

# cpu UNIT: prints the processor time in ns of everything that ran in the unit.
cpu() {
    systemctl show --property=CPUUsageNSec --value "$1"
}

# threads PID: prints name, processor time in ns and wake-ups of each thread.
threads() {
    local task name time
    for task in /proc/"$1"/task/*; do
        name=$(<"$task/comm")
        read -r time _ <"$task/schedstat"
        echo "${name// /-} $time $(awk '/^voluntary/ { print $2 }' "$task/status")"
    done
}

# all_transfers: prints the number of transfers of all chips.
all_transfers() {
    cat /sys/kernel/debug/ina260-bus/1/0x4*/transfers | awk '{ sum += $1 } END { print sum }'
}

# measure NAME UNIT PORT SECONDS: measures a unit for a while; scrapes it every SECONDS, unless 0.
measure() {
    local name=$1 unit=$2 port=$3 every=$4 pid start before words now
    pid=$(systemctl show --property=MainPID --value "$unit")
    sleep 5
    start=$(cpu "$unit") words=$(all_transfers) before=$(threads "$pid")
    local end=$((SECONDS + period))
    while ((SECONDS < end)); do
        sleep "$((every ? every : period))"
        ((every == 0)) || curl --silent --fail --output /dev/null "http://127.0.0.1:$port/metrics"
    done
    now=$(threads "$pid")
    processor[$name]=$((($(cpu "$unit") - start) / 1000))
    transfers[$name]=$(($(all_transfers) - words))
    wakeups[$name]=$(join -j 1 <(totals <<<"$before") <(totals <<<"$now") |
        awk '{ sum += $5 - $3 } END { print sum }')
    bus_thread[$name]=$(join -j 1 <(totals <<<"$before") <(totals <<<"$now") |
        awk '/^bus/ { sum += $4 - $2 } END { print int(sum / 1000) }')
    resident[$name]=$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")
    anonymous[$name]=$(awk '/^RssAnon/ { print $2 }' "/proc/$pid/status")
    ((transfers[$name] > 0)) || [[ $name == node_exporter* ]] || fail "$name: no transfers"
    printf '%-42s %8d us %7.2f wake-ups/s %7d KiB resident %7d KiB anonymous %6d transfers\n' \
        "$name" "${processor[$name]}" \
        "$(awk "BEGIN { print ${wakeups[$name]} / $period }")" "${resident[$name]}" \
        "${anonymous[$name]}" "${transfers[$name]}"
    [[ $unit != "$service" ]] || join -j 1 <(totals <<<"$before") <(totals <<<"$now") |
        awk '{ printf "    %-15s %8d us %5d wake-ups\n", $1, ($4 - $2) / 1000, $5 - $3 }'
}

# totals: adds up the lines of `threads` by name.
totals() {
    awk '{ time[$1] += $2; count[$1] += $3 }
        END { for (name in time) print name, time[name], count[name] }' | sort
}

# peer NAME COMMAND...: starts a peer in the tree, as a unit.
peer() {
    systemd-run --quiet --unit="$1" --setenv=PYTHONPATH=/opt/script \
        --setenv=PYTHONDONTWRITEBYTECODE=1 chroot "$tree" "${@:2}"
}

responds() {
    curl --silent --fail --max-time 5 "http://127.0.0.1:$1/metrics" | grep --quiet "$2"
}

# daemon NAME SCRAPES LINES...: measures the service with a configuration.
daemon() {
    local name=$1 every=$2
    configure "${@:3}"
    systemctl restart "$service"
    wait_until 20 shows ina260_voltage 12 'device="a"'
    measure "$name" "$service" 8000 "$every"
    systemctl stop "$service"
}

# both NAME LINES...: measures the service with scrapes and without.
both() {
    daemon "$1, scrape every 15 s" 15 "${@:2}"
    daemon "$1, no scrape" 0 "${@:2}"
}

for port in 8001 8002; do
    peer "$script" python3 /opt/script/script.py --hostname pi4 --port "$port"
    wait_until 120 responds "$port" 'ina260_voltage{.*} 12'
    case $port in
        8001) measure "script, scrape every 15 s" "$script" "$port" 15 ;;
        8002) measure "script, no scrape" "$script" "$port" 0 ;;
    esac
    systemctl stop "$script"
done

one='[[sensor]]
device = "a"'
sixteen=$(for number in {0..15}; do
    name=$(printf '\\x%x' $((97 + number)))
    printf '[[sensor]]\ndevice = "%b"\naddress = %#x\n' "$name" $((0x40 + number))
done)
both "daemon, 1 sensor" "$one"
both "daemon, 1 sensor at 10 Hz" 'interval = "100ms"' "$one"
for number in {1..15}; do
    chip=$(printf '1/0x%x' $((0x40 + number)))
    chip=$chip chip plugged 1
    chip=$chip set_load 0x2580 0x0320
done
both "daemon, 16 sensors" "$sixteen"

# Debian's kernels have the driver of the INA226, which shares the INA260's registers.
if modprobe ina2xx && echo ina226 0x40 >/sys/bus/i2c/devices/i2c-1/new_device; then
    peer node_exporter prometheus-node-exporter --web.listen-address=127.0.0.1:8003 \
        --collector.disable-defaults --collector.hwmon
    wait_until 60 responds 8003 node_hwmon_in_volts
    measure "node_exporter, hwmon only, scrape every 15 s" node_exporter 8003 15
    systemctl stop node_exporter
    echo 0x40 >/sys/bus/i2c/devices/i2c-1/delete_device
else
    echo "node_exporter: not measured, the kernel has no driver"
fi

# ratio WHAT VALUE OF TARGET: prints 1 / x of OF and whether that is at most 1 / TARGET.
ratio() {
    awk -v what="$1" -v value="$2" -v of="$3" -v target="$4" 'BEGIN {
        times = of / (value > 0 ? value : 1)
        printf "%-58s 1 / %-6.1f target 1 / %-4s %s\n", what, times, target,
            (times >= target) ? "met" : "MISSED"
    }'
}

echo
a="script, scrape every 15 s" none="daemon, 1 sensor, no scrape"
ratio "processor time, 1 sensor at 1 Hz, against the script" \
    "${processor["daemon, 1 sensor, scrape every 15 s"]}" "${processor[$a]}" 5
ratio "processor time, 16 sensors at 1 Hz, against the script's 1" \
    "${processor["daemon, 16 sensors, scrape every 15 s"]}" "${processor[$a]}" 2
ratio "processor time, 1 sensor at 10 Hz, against the script's" \
    "${processor["daemon, 1 sensor at 10 Hz, scrape every 15 s"]}" "${processor[$a]}" 3
ratio "processor time except the bus thread's, no scrape" \
    $((processor[$none] - bus_thread[$none])) "${processor["script, no scrape"]}" 15
awk -v count="${wakeups[$none]}" -v period="$period" 'BEGIN {
    printf "%-58s %-10.2f target %-8s %s\n", "wake-ups per second at 1 Hz, no scrape",
        count / period, 2.5, (count / period <= 2.5) ? "met" : "MISSED"
}'
