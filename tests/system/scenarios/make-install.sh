#!/bin/bash
# The README's commands for other distributions: the service works after `make install`, which has
# no maintainer scripts, and a reboot.
# on the bare system
. scenarios/lib.sh

if [[ $stage == 1 ]]; then
    must_fail getent group i2c
    # The files of `make install`. Like install(1), this leaves the date of /usr as it is.
    dpkg-deb --fsys-tarfile "$package" |
        tar --extract --directory / --no-overwrite-dir --keep-directory-symlink
    readme=/usr/share/doc/$service/README.md
    commands=$(sed -n '/^sudo make install/,/^```/ s/^sudo //p' "$readme")
    expect "last command" reboot "$(tail --lines=1 <<<"$commands")"
    bash -e -c "$(sed '1d; $d' <<<"$commands")"
    reboot_and_continue
fi

expect "device node" "root i2c 660" "$(stat --format '%U %G %a' /dev/i2c-1)"
start_service
