#!/usr/bin/env python3
"""Boots an image once and saves the machine's state beside it, so that no scenario has to wait for a boot.

Usage: boot.py IMAGE
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from machine import PAYLOAD_SIZE, Machine, Trouble

SECONDS = 300


def main() -> int:
    image = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        payload = work / "payload"
        payload.touch()
        os.truncate(payload, PAYLOAD_SIZE)
        machine = Machine(image, work, payload, keep=True)
        try:
            end = time.monotonic() + SECONDS
            said = []
            while (line := machine.line(end)) != "@@ready":
                said.append(line)
            if said != ["running"]:  # systemd's word for: every unit is up
                raise Trouble(f"the guest is {said}")
            machine.save(image / "state")
        except Trouble as trouble:
            print(machine.console.read_text(errors="replace"), f"boot: {trouble}", sep="\n", file=sys.stderr)
            return 1
        finally:
            machine.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
