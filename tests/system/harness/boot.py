#!/usr/bin/env python3
"""Boots an image and saves the machine's state with it, so that scenarios need no boot.

Usage: boot.py IMAGE
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from machine import PAYLOAD_SIZE, Machine, MachineError

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
            machine.wait_for_boot(time.monotonic() + SECONDS)
            machine.save(image / "state")
        except MachineError as error:
            console = machine.console.read_text(errors="replace")
            print(console, f"boot: {error}", sep="\n", file=sys.stderr)
            return 1
        finally:
            machine.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
