"""Writes a past day with known mean power as blocks of Prometheus.

The gauge never sees the pulses of the loads, so a query that reads it is far off.
"""

import subprocess
import time
from pathlib import Path

HOST = "history"
MEANS = {"small": 0.1, "battery": 25 / 3}  # watts, from the pulses in day.rs
DAY = 86400
BEGIN = int(time.time()) // DAY * DAY - 2 * DAY
END = BEGIN + DAY


def write(program: str, text: Path, blocks: Path) -> None:
    with text.open("w") as file:
        subprocess.run([program, str(BEGIN)], check=True, stdout=file)
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", text, blocks],
        check=True,
        stdout=subprocess.DEVNULL,
    )
