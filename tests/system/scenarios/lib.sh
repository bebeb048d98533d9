# shellcheck shell=bash disable=SC2034,SC2119,SC2120 # used by the scenarios, with arguments
# Shared by all scenarios, which start with `. scenarios/lib.sh` and run as root in the virtual
# machine. A command that fails ends the scenario. $1 is the stage: 1, plus 1 after each reboot.
set -Eeuo pipefail
shopt -s inherit_errexit

stage=${1:-1}
package=./ina260-exporter.deb
service=ina260-exporter
configuration=/etc/ina260-exporter.toml

trap 'echo "FAILED at ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND" >&2' ERR
trap 'code=$?; ((code == 0)) || diagnose' EXIT

# Prints the service's status, journal and scrape.
diagnose() {
    trap - ERR
    set +e
    echo "--- systemctl status $service"
    systemctl status --no-pager --full --lines=0 "$service"
    echo "--- journal of $service"
    journalctl --quiet --no-pager --output=short-precise --unit="$service" --lines=60
    echo "--- scrape"
    curl --silent --show-error --max-time 5 http://localhost:8000/metrics |
        grep -v -e '^#' -e _bucket | head -60
}

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# expect SUBJECT EXPECTED ACTUAL
expect() {
    [[ $2 == "$3" ]] || fail "$1 is '$3', expected '$2'"
}

# must_fail COMMAND...: fails unless COMMAND fails; its output is in $output.
must_fail() {
    if output=$("$@" 2>&1); then
        fail "'$*' succeeds: $output"
    fi
}

# output_has TEXT: fails unless $output of the last must_fail contains TEXT.
output_has() {
    [[ $output == *"$1"* ]] || fail "'$1' is missing in: $output"
}

# wait_until SECONDS COMMAND...: repeats COMMAND, once a second, until it succeeds. Emulated
# machines are slow, so scenarios wait for a state instead of asserting it at an instant.
wait_until() {
    local seconds=$1 end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || fail "not within $seconds s: $*"
        sleep 1
    done
}

# holds_for SECONDS COMMAND...: fails if COMMAND fails once within SECONDS.
holds_for() {
    local seconds=$1 end=$((SECONDS + $1))
    shift
    while ((SECONDS < end)); do
        "$@" >/dev/null 2>&1 || fail "no longer true within $seconds s: $*"
        sleep 1
    done
}

# Reboots the machine; the scenario starts again with the next stage.
reboot_and_continue() {
    echo @@reboot
    systemctl reboot
    sleep infinity
}

# --- the bus

# chip FILE [VALUE]: reads or writes a control file of the chip at 0x40 on bus 1, or of $chip. The
# files are described in ina260-bus.c.
chip() {
    local file=/sys/kernel/debug/ina260-bus/${chip:-1/0x40}/$1
    if (($# > 1)); then
        echo "$2" >"$file"
    else
        cat "$file"
    fi
}

# set_load VOLTAGE CURRENT: sets what the chip measures from now on, as register words.
set_load() {
    chip voltage "$1"
    chip current "$2"
}

# As `raspi-config` does: creates the device nodes, accessible to root only.
enable_i2c() {
    modprobe i2c-dev
    udevadm settle
}

# --- the service

# install_package [PACKAGE]: installs our package, or another version of it, and keeps an edited
# configuration. dpkg takes half as long as apt, which needs a quarter of a minute in an emulated
# machine; the scenario `install` covers apt.
install_package() {
    dpkg --force-confold --install "${1:-$package}" 2>&1
}

# configure LINES...: writes the configuration file.
configure() {
    printf '%s\n' "$@" >"$configuration"
}

# start_service [LINES...]: sets 12 V and 1 A, writes the configuration if there are LINES, starts
# the service and waits for the first result.
start_service() {
    (($# == 0)) || configure "$@"
    set_load 0x2580 0x0320
    systemctl enable --quiet --now "$service"
    wait_until 20 shows ina260_voltage 12
}

# property NAME: prints a property of the unit.
property() {
    systemctl show --property="$1" --value "$service"
}

# property_is NAME VALUE
property_is() {
    [[ $(property "$1") == "$2" ]]
}

# --- its metrics

scrape() {
    curl --silent --show-error --fail --max-time 5 http://localhost:8000/metrics
}

# series NAME [LABEL...]: prints the lines of a scrape that have this name and all of these labels,
# for example: series ina260_up 'device="orin"'
series() {
    local lines label
    lines=$(scrape | grep --extended-regexp "^$1(\{| )") || return 1
    for label in "${@:2}"; do
        lines=$(grep --fixed-strings -- "$label" <<<"$lines") || return 1
    done
    echo "$lines"
}

# metric NAME [LABEL...]: prints the value of the series; fails if there is none or more than one.
metric() {
    local lines
    lines=$(series "$@") || fail "no series $* in the scrape"
    [[ $lines != *$'\n'* ]] || fail "several series $* in the scrape: $lines"
    echo "${lines##* }"
}

# shows NAME VALUE [LABEL...]: returns whether the series has this value.
shows() {
    [[ $(metric "$1" "${@:3}") == "$2" ]]
}

# above NAME VALUE [LABEL...]: returns whether the series, a whole number, exceeds VALUE.
above() {
    (($(metric "$1" "${@:3}") > $2))
}

# lacks NAME [LABEL...]: returns whether the scrape works and does not contain such a series.
lacks() {
    scrape >/dev/null && ! series "$@" >/dev/null
}

# --- its journal

# Makes `journal` show only later messages. (--after-cursor loses a line where the cursor's own is
# filtered out.)
mark_journal() {
    mark=$(date '+%F %T.%6N')
}

# journal [OPTION...]: prints the service's own messages.
journal() {
    journalctl --sync
    journalctl --quiet --no-pager --output=cat ${mark:+"--since=$mark"} \
        _SYSTEMD_UNIT="$service.service" "$@"
}

# journal_of_systemd [OPTION...]: prints systemd's messages about the service.
journal_of_systemd() {
    journalctl --sync
    journalctl --quiet --no-pager --output=cat ${mark:+"--since=$mark"} \
        _PID=1 UNIT="$service.service" "$@"
}

# logged TEXT: returns whether the journal contains TEXT.
logged() {
    [[ $(journal) == *"$1"* ]]
}
