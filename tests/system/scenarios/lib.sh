# shellcheck shell=bash disable=SC2034,SC2119,SC2120 # used by the scenarios, with arguments
# What every scenario starts with: `. scenarios/lib.sh`. It runs in the virtual machine as root; a command that fails ends it.
# $1 is the stage: 1, and one more after each reboot.
set -Eeuo pipefail
shopt -s inherit_errexit

stage=${1:-1}
package=./ina260-exporter.deb
service=ina260-exporter
configuration=/etc/ina260-exporter.toml

trap 'echo "FAILED at ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND" >&2' ERR
trap 'code=$?; ((code == 0)) || explain' EXIT

# What a person would look at first.
explain() {
    trap - ERR
    set +e
    echo "--- systemctl status $service"
    systemctl status --no-pager --full --lines=0 "$service"
    echo "--- its journal"
    journalctl --quiet --no-pager --output=short-precise --unit="$service" --lines=60
    echo "--- a scrape"
    curl --silent --show-error --max-time 5 http://localhost:8000/metrics | grep -v -e '^#' -e _bucket | head -60
}

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# expect WHAT WANTED SEEN
expect() {
    [[ $2 == "$3" ]] || fail "$1 is '$3', not '$2'"
}

# refuses COMMAND...: it must fail; what it says is in $said.
refuses() {
    if said=$("$@" 2>&1); then
        fail "'$*' succeeds: $said"
    fi
}

# says TEXT: the last refusal's message has this in it.
says() {
    [[ $said == *"$1"* ]] || fail "'$1' is missing in: $said"
}

# wait_until SECONDS COMMAND...: an emulated machine is slow, so nothing is asserted at an instant, nor asked all the time.
wait_until() {
    local seconds=$1 end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || fail "not within $seconds s: $*"
        sleep 1
    done
}

# for_seconds SECONDS COMMAND...: it must hold all the time.
for_seconds() {
    local seconds=$1 end=$((SECONDS + $1))
    shift
    while ((SECONDS < end)); do
        "$@" >/dev/null 2>&1 || fail "no longer true within $seconds s: $*"
        sleep 1
    done
}

# reboot_and_go_on: the scenario starts again with the next stage.
reboot_and_go_on() {
    echo @@reboot
    systemctl reboot
    sleep infinity
}

# --- the bus

# chip FILE [VALUE]: a file of the chip at 0x40 on bus 1, or of $chip; what they mean stands in ina260-bus.c.
chip() {
    local file=/sys/kernel/debug/ina260-bus/${chip:-1/0x40}/$1
    if (($# > 1)); then
        echo "$2" >"$file"
    else
        cat "$file"
    fi
}

# sees VOLTAGE CURRENT: what the chip measures from now on, as register words.
sees() {
    chip voltage "$1"
    chip current "$2"
}

# As raspi-config does: the device nodes are there, and root's alone.
enable_i2c() {
    modprobe i2c-dev
    udevadm settle
}

# --- the service

# install_package [PACKAGE]: ours, or another version of it; what was configured is kept. It takes half of what apt takes, which
# is a quarter of a minute in an emulated machine; the scenario `install` has apt do it.
install_package() {
    dpkg --force-confold --install "${1:-$package}" 2>&1
}

# configure LINES...: the whole configuration file.
configure() {
    printf '%s\n' "$@" >"$configuration"
}

# begin [LINES...]: the usual beginning: 12 V and 1 A in the registers, this configuration, and the service running.
begin() {
    (($# == 0)) || configure "$@"
    sees 0x2580 0x0320
    systemctl enable --quiet --now "$service"
    wait_until 20 shows ina260_voltage 12
}

property() {
    systemctl show --property="$1" --value "$service"
}

# is PROPERTY VALUE: of the unit
is() {
    [[ $(property "$1") == "$2" ]]
}

# --- its metrics

scrape() {
    curl --silent --show-error --fail --max-time 5 http://localhost:8000/metrics
}

# series NAME [LABEL...]: the lines of a scrape with this name and all of these labels, as in: series ina260_up 'device="orin"'
series() {
    local lines label
    lines=$(scrape | grep --extended-regexp "^$1(\{| )") || return 1
    for label in "${@:2}"; do
        lines=$(grep --fixed-strings -- "$label" <<<"$lines") || return 1
    done
    echo "$lines"
}

# metric NAME [LABEL...]: the value of the only such series
metric() {
    local lines
    lines=$(series "$@") || fail "a scrape has no $*"
    [[ $lines != *$'\n'* ]] || fail "a scrape has several $*: $lines"
    echo "${lines##* }"
}

# shows NAME VALUE [LABEL...]
shows() {
    [[ $(metric "$1" "${@:3}") == "$2" ]]
}

# above NAME VALUE [LABEL...]: whole numbers
above() {
    (($(metric "$1" "${@:3}") > $2))
}

# lacks NAME [LABEL...]: the scrape works and has no such series
lacks() {
    scrape >/dev/null && ! series "$@" >/dev/null
}

# --- its journal

# From here on `journal` has what is new. (--after-cursor loses a line where the cursor's own is filtered out.)
mark_journal() {
    mark=$(date '+%F %T.%6N')
}

# journal [OPTION...]: the messages of the service alone
journal() {
    journalctl --sync
    journalctl --quiet --no-pager --output=cat ${mark:+"--since=$mark"} _SYSTEMD_UNIT="$service.service" "$@"
}

# journal_of_systemd [OPTION...]: what systemd says about the service
journal_of_systemd() {
    journalctl --sync
    journalctl --quiet --no-pager --output=cat ${mark:+"--since=$mark"} _PID=1 UNIT="$service.service" "$@"
}

# logged TEXT
logged() {
    [[ $(journal) == *"$1"* ]]
}
