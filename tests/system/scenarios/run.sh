#!/bin/bash
# `run` and `calibrate` on a bus of the kernel. Measuring directly, they restore the registers of
# the chip at the end and after SIGTERM. While the service is running, they measure through it,
# write nothing to the chip, and refuse `--direct`.
# on one release
. scenarios/lib.sh
# 12 V and 1 A. Few of the cycles of 20 ms are missed in an emulated machine.
run=(ina260-exporter run --interval 20ms)
set_load 0x2580 0x0320

# shown_has TEXT: fails unless $shown contains TEXT.
shown_has() {
    [[ $shown == *"$1"* ]] || fail "'$1' is missing in: $shown"
}
# Prints the chip's writable registers, without flags.
registers() {
    printf '0x%04x 0x%04x 0x%04x\n' "$(chip configuration)" $(($(chip mask_enable) & 0xfc03)) \
        "$(chip alert_limit)"
}
is_changed() {
    [[ $(registers) != "$found" ]]
}
# expect_12_watts FILE: compares the only line of a CSV file with the load.
expect_12_watts() {
    cat "$1"
    awk -F , '
        $1 == "run" { for (i = 1; i <= NF; i++) column[$i] = i; next }
        {
            lines++
            energy = $column["energy_joules"]
            expected = 12 * ($column["duration_seconds"] - $column["unmeasured_seconds"])
            error = energy - expected
            if (error < 0) error = -error
            if (error > $column["uncertainty_joules"] + 0.01 * expected) exit 1
            if ($column["mean_watts"] < 11.9 || $column["mean_watts"] > 12.1) exit 1
            if (energy < 6) exit 1
        }
        END { if (lines != 1) exit 1 }' "$1" || fail "not the energy of 12 W"
}

# Directly: streams and exit code are those of the command, and the registers are restored.
i2c-word /dev/i2c-1 0x40 0x07 0x1234
i2c-word /dev/i2c-1 0x40 0x06 0x8001
i2c-word /dev/i2c-1 0x40 0x00 0x6e9f
found=$(registers)
expect "registers" "0x6e9f 0x8001 0x1234" "$found"
configured=$(chip configured)
"${run[@]}" --csv --output direct.csv -- sleep 2
expect_12_watts direct.csv
expect "registers after a run" "$found" "$(registers)"
(($(chip configured) >= configured + 2)) || fail "the chip was not configured for the run"
code=0
shown=$("${run[@]}" -- sh -c 'echo out; exit 3' 2>report) || code=$?
expect "exit code and output" "3 out" "$code $shown"
shown=$(cat report)
shown_has ' J ± '

# After SIGTERM, which reaches the command.
"${run[@]}" -- sleep 1234 2>report &
wait_until 20 pgrep --full '^sleep 1234'
is_changed || fail "the chip is not configured while the command is running"
kill -TERM $!
code=0
wait $! || code=$?
expect "exit code after SIGTERM" 143 "$code"
shown=$(cat report)
shown_has ' J ± '
shown_has 'run 1 of 1 ended with exit code 143'
pgrep --full '^sleep 1234' && fail "the command is still running"
expect "registers after SIGTERM" "$found" "$(registers)"

# An interval that is too short for the bus: each transfer takes 2 ms.
chip delay_us 2000
must_fail ina260-exporter run --interval 3ms -- true
output_has 'is more than bus 1 can carry'
chip delay_us 0
expect "registers after a refusal" "$found" "$(registers)"

# calibrate: with a load, without one (2.5 mA), and after SIGTERM.
must_fail ina260-exporter calibrate --zero --for 5s
output_has 'a load is still connected'
expect "registers after a refused calibration" "$found" "$(registers)"
set_load 0x2580 0x0002
shown=$(ina260-exporter calibrate --zero --for 5s)
shown_has 'current_offset = "-2.500mA"'
expect "registers after a calibration" "$found" "$(registers)"
ina260-exporter calibrate --zero --for 10m 2>report &
wait_until 20 is_changed
kill -TERM $!
wait $! && fail "a calibration that was stopped succeeds"
shown=$(cat report)
shown_has 'stopped by a signal'
expect "registers after SIGTERM" "$found" "$(registers)"

# While the service is running, through it.
start_service '[[sensor]]' 'device = "orin"' 'interval = "100ms"'
url=http://0.0.0.0:8000/metrics
wait_until 10 test -s /run/ina260-exporter/bus-1.lock
found=$(registers)
configured=$(chip configured)
ina260-exporter run --csv --output served.csv -- sleep 4
expect_12_watts served.csv
shown=$(ina260-exporter run -- sleep 1 2>&1)
shown_has "orin: measured through the service at $url"
must_fail ina260-exporter run --direct -- true
output_has "bus 1 is in use by the service at $url, which would lose results and settings"
code=0
ina260-exporter run --direct -- true 2>/dev/null || code=$?
expect "exit code of a refusal" 125 "$code"
must_fail ina260-exporter calibrate --direct --zero --for 5s
output_has "bus 1 is in use by the service at $url"
must_fail ina260-exporter calibrate --zero --for 40s
output_has 'a load is still connected'
set_load 0x2580 0x0002
wait_until 10 shows ina260_current 2.5
shown=$(ina260-exporter calibrate --zero --for 40s)
shown_has 'current_offset = "-2.500mA"'
expect "registers and configuration writes" "$found $configured" "$(registers) $(chip configured)"

# A restart of the service during a run is noticed.
ina260-exporter run -- sleep 12 2>report &
sleep 3
systemctl restart "$service"
wait $!
shown=$(cat report)
shown_has 'counters of the service were reset (restart)'
