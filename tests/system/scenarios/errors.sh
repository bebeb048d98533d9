#!/bin/bash
# Each errno that an adapter may return is counted under its kind, and none stops the service.
# on one release
. scenarios/lib.sh
start_service
pid=$(property MainPID)

# fails_with ERRNO KIND
fails_with() {
    local before
    before=$(metric ina260_read_errors_total "kind=\"$2\"")
    mark_journal
    chip errno "$1"
    wait_until 15 shows ina260_up 0
    wait_until 10 above ina260_read_errors_total "$before" "kind=\"$2\""
    wait_until 5 logged "errno $1"
    chip errno 0
    wait_until 45 shows ina260_up 1
}
fails_with 121 nack
fails_with 6 nack
fails_with 110 timeout
fails_with 16 timeout # EBUSY of a hung bus
fails_with 11 arbitration
fails_with 5 io

# A single failed transfer is retried immediately and causes no outage.
mark_journal
before=$(metric ina260_read_errors_total 'kind="nack"')
chip failures 1
chip errno 121
wait_until 15 eval "(( \$(chip errno) == 0 ))"
holds_for 5 shows ina260_up 1
must_fail logged "errno 121"
expect "main process" "$pid" "$(property MainPID)"

# A different chip at the address.
chip plugged 0
wait_until 15 shows ina260_up 0
chip manufacturer 0x0054
chip plugged 1
wait_until 45 above ina260_read_errors_total 0 'kind="identity"'
expect "up" 0 "$(metric ina260_up)"
chip manufacturer 0x5449
wait_until 45 shows ina260_up 1
