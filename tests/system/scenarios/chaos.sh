#!/bin/bash
# Random faults of chips, buses, clients and the machine, for four minutes. Afterwards measured and
# unmeasured time add up, energy is that of the measured time, memory has not grown, and the process
# is still the same. The sequence depends on the seed only; `soak` runs longer with another one.
# on one release
# seconds: 900
. scenarios/lib.sh
length=${chaos_length:-240}
RANDOM=${chaos_seed:=260}
echo "seed $chaos_seed, $length s"

rmmod ina260-bus
modprobe ina260-bus buses=2
udevadm settle
# Each chip has a constant load, so that its energy is its power times the measured time.
chip=1/0x40 set_load 0x2580 0x0320 # 12 V, 1 A
chip=1/0x41 chip plugged 1
chip=1/0x41 set_load 0x0fa0 0xfce0 # 5 V, -1 A
chip=2/0x40 chip plugged 0
chip=2/mux/3 chip plugged 1
chip=2/mux/3 set_load 0x4b00 0x0320 # 24 V, 1 A
chip=2/mux chip plugged 1
chips=(1/0x40 1/0x41 2/mux/3)

# An address that can be lost.
address=198.51.100.1
ip address add "$address/32" dev lo
scrape() {
    curl --silent --show-error --fail --max-time 5 "http://$address:8000/metrics"
}

# sensors NAME INTERVAL: writes a configuration in which the second sensor has this name, and the
# first this interval.
sensors() {
    configure "listen = \"$address:8000\"" 'interval = "1s"' \
        '[[sensor]]' 'device = "orin"' "interval = \"$2\"" \
        '[[sensor]]' "device = \"$1\"" 'address = 0x41' \
        '[[sensor]]' 'device = "gpu"' 'bus = 2' 'mux = { address = 0x70, channel = 3 }'
}
all_up() {
    local device
    for device in orin disks gpu; do
        shows ina260_up 1 "device=\"$device\"" || return 1
    done
}
# The SECONDS of bash follow the clock, which this scenario sets.
uptime() {
    cut --delimiter=. --fields=1 /proc/uptime
}
# Prints the seconds of a sensor, measured and not.
lifetime() {
    echo $(($(metric ina260_measured_seconds_total "device=\"$1\"") +
        $(metric ina260_unmeasured_seconds_total "device=\"$1\"")))
}
memory() {
    awk '$1 == "VmRSS:" { print $2 }' "/proc/$pid/status"
}

# --- faults. Each takes a random number, and ends what it began.

some_chip() {
    echo "${chips[$1 % 3]}"
}
unplugged() {
    local chip
    chip=$(some_chip "$1")
    chip plugged 0
    sleep "$((1 + $1 % 12))"
    chip plugged 1
}
brown_out() {
    local chip
    chip=$(some_chip "$1")
    chip power_on 1
}
foreign_write() {
    local chip
    chip=$(some_chip "$1")
    chip configuration 0x6337
}
failures() {
    local chip errnos=(121 110 11 5)
    chip=$(some_chip "$1")
    chip failures "$((1 + $1 % 5))"
    chip errno "${errnos[$1 / 8 % 4]}"
    sleep 2
}
hang() {
    local chip
    chip=$(some_chip "$1")
    chip hang Y
    sleep "$((1 + $1 % 6))"
    chip hang N
}
corrupted() {
    local chip
    chip=$(some_chip "$1")
    for _ in 1 2 3 4; do
        chip corrupt_register "$((1 + $1 / 4 % 3))"
        chip corrupt_bits "$((1 << (6 + $1 / 16 % 10)))"
        chip corruptions 1
        sleep 2
    done
}
mux_lost() {
    chip=2/mux chip plugged 0
    sleep "$((1 + $1 % 8))"
    chip=2/mux chip plugged 1
}
mux_switched() {
    for _ in 1 2 3; do
        chip=2/mux chip control "$(($1 % 256))"
        sleep 0.4
    done
}
# Clients that connect, and send nothing or the beginning of a header.
clients() {
    local connection
    (
        ulimit -n 1024
        for _ in {1..300}; do
            # shellcheck disable=SC2034 # kept open
            exec {connection}<>"/dev/tcp/$address/8000" || break
            (($1 % 2)) || head --bytes=4000 /dev/zero | tr '\0' a >&"$connection" || break
        done
        sleep "$((2 + $1 % 20))"
    ) 2>/dev/null || true
}
address_lost() {
    ip address delete "$address/32" dev lo
    sleep "$((2 + $1 % 20))"
    ip address add "$address/32" dev lo
}
frozen() {
    kill -STOP "$pid"
    sleep "$((1 + $1 % 20))"
    kill -CONT "$pid"
}
journald() {
    systemctl restart systemd-journald
}
clock() {
    local seconds=$(($1 % 7200 - 3600))
    date --set "@$(($(date +%s) + seconds))"
    sleep 2
    date --set "@$(($(date +%s) - seconds))"
}
full_disk() {
    fallocate --length "$(df --block-size=1 --output=avail /var | tail -1)" /var/fill || true
    sleep "$((1 + $1 % 4))"
    rm -f /var/fill
}
good_reload() {
    sensors disks "$((500 + $1 % 4 * 250))ms"
    systemctl reload "$service"
}
bad_reload() {
    configure 'interval = "1s' "colour = $1"
    systemctl reload "$service" || true
    sleep 1
    sensors disks 1s
}
renamed() {
    sensors "disks$1" 1s
    systemctl reload "$service"
    sleep "$((1 + $1 % 4))"
    sensors disks 1s
    systemctl reload "$service"
}

in_background=(unplugged brown_out failures hang corrupted mux_lost mux_switched foreign_write
    clients address_lost)
# Faults that write the configuration, stop everything, or fill the disk: one at a time.
in_foreground=(frozen journald clock full_disk good_reload bad_reload renamed)

# shuffled FAULT...: sets $order to them in random order.
shuffled() {
    local last other
    order=("$@")
    for ((last = $# - 1; last > 0; last--)); do
        other=$((RANDOM % (last + 1)))
        set -- "${order[last]}"
        order[last]=${order[other]}
        order[other]=$1
    done
}

# --- the run

sensors disks 1s
systemctl enable --quiet --now "$service"
wait_until 30 all_up
wait_until 20 above ina260_results_total 3 'device="gpu"'
pid=$(property MainPID)
start=$(uptime)
declare -A before since
for device in orin disks gpu; do
    # A scrape takes a second in an emulated machine.
    since[$device]=$(uptime) before[$device]=$(lifetime "$device")
done
memory_then=
count=0
while (($(uptime) - start < length)); do
    if ((count % ${#in_background[@]} == 0)); then
        shuffled "${in_background[@]}"
        background=("${order[@]}")
        shuffled "${in_foreground[@]}"
        foreground=("${order[@]}")
    fi
    fault=${background[count % ${#background[@]}]}
    number=$RANDOM # a subshell would have a sequence of its own
    "$fault" "$number" >/dev/null &
    faults=$fault
    fault=${foreground[count % ${#foreground[@]}]}
    faults+=" $fault"
    "$fault" "$RANDOM" >/dev/null
    echo "$(($(uptime) - start)) s: $faults"
    wait
    sleep "$((1 + RANDOM % 3))"
    count=$((count + 1))
    if [[ -z $memory_then ]] && (($(uptime) - start >= 120)); then
        memory_then=$(memory)
    fi
done

sensors disks 1s
systemctl reload "$service"
wait_until 90 all_up
echo "$count rounds"
expect "process" "$pid" "$(property MainPID)"
expect "restarts" 0 "$(property NRestarts)"
names=$(scrape | grep --only-matching 'device="[^"]*"' | sort --unique | tr '\n' ' ')
expect "devices in the scrape" 'device="disks" device="gpu" device="orin" ' "$names"
now=$(memory)
echo "memory: $memory_then kB after two minutes, $now kB at the end"
((now < memory_then * 23 / 20 + 1024)) || fail "memory grew from $memory_then to $now kB"
for device in orin disks gpu; do
    # Up to one result is counted later.
    elapsed=$(($(uptime) - since[$device])) life=$(($(lifetime "$device") - before[$device]))
    echo "$device: $life s of $elapsed s accounted, $(metric ina260_measured_seconds_total \
        "device=\"$device\"") s measured, $(metric ina260_read_errors_total \
        "device=\"$device\"" 'kind="corrupt"') corrupted words"
    ((life >= elapsed - 4 && life <= elapsed + 4)) || fail "$device: $life s of $elapsed s"
done

# The saved counters include the fractions.
systemctl stop "$service"
property_is Result success || fail "the service failed"
awk -F '[": ,]+' '
    BEGIN { watts["orin"] = 12; watts["disks"] = 5; watts["gpu"] = 24 }
    $2 == "device" { device = $3; energy = 0 }
    $2 ~ /^energy_attojoules/ { energy += $3 / 1e18 }
    $2 == "measured_nanoseconds" {
        seen++
        error = energy / ($3 / 1e9) / watts[device] - 1
        printf "%s: energy differs by %.4f %%\n", device, error * 100
        if (error > 0.005 || error < -0.005) wrong = 1
    }
    END { exit wrong || seen != 3 }' /var/lib/private/ina260-exporter/totals ||
    fail "energy is not power times measured time"
