"""Writes two past days with known power as blocks of Prometheus.

The gauges differ from the counters, so that a query shows which of them it reads.
"""

import subprocess
import time
from pathlib import Path

HOST = "history"
DEVICES = {"large": 10.0, "small": 0.1}  # watts
GAUGE = 1.1  # factor of the gauge
DAY = 86400
STEP = 30
FIRST_DAY = int(time.time()) // DAY * DAY - 2 * DAY


def write(text: Path, blocks: Path) -> None:
    labels = f'hostname="{HOST}",device="%s",job="ina260",instance="history:8000"'
    declared: set[str] = set()
    with text.open("w") as file:

        def metric(name: str, kind: str, value, extra: str = "") -> None:
            if name not in declared:
                declared.add(name)
                print(f"# TYPE {name.removesuffix('_total')} {kind}", file=file)
            for device, watts in DEVICES.items():
                series = f"{name}{{{labels % device}{extra}}}"
                for second in range(0, 2 * DAY + 1, STEP):
                    print(f"{series} {value(watts, second)} {FIRST_DAY + second}", file=file)

        energy = "ina260_energy_joules_total"
        forward, reverse = ',direction="forward"', ',direction="reverse"'
        metric(energy, "counter", lambda watts, second: int(watts * second), forward)
        metric(energy, "counter", lambda *_: 0, reverse)
        metric("ina260_measured_seconds_total", "counter", lambda _, second: second)
        metric("ina260_power_watts", "gauge", lambda watts, _: watts * GAUGE)
        print("# EOF", file=file)
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", text, blocks],
        check=True,
        stdout=subprocess.DEVNULL,
    )
