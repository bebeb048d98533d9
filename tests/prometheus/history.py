"""Two days in the past, as blocks of Prometheus: power that is known, and gauges that differ, to tell them from counters."""

import subprocess
import time
from pathlib import Path

HOST = "history"
DEVICES = {"large": 10.0, "small": 0.1}  # watts
GAUGE = 1.1  # times as much
DAY = 86400
STEP = 30
FIRST_DAY = int(time.time()) // DAY * DAY - 2 * DAY


def write(text: Path, blocks: Path) -> None:
    labels = f'hostname="{HOST}",device="%s",job="ina260",instance="history:8000"'
    told: set[str] = set()
    with text.open("w") as file:

        def metric(name: str, kind: str, value, extra: str = "") -> None:
            if name not in told:
                told.add(name)
                print(f"# TYPE {name.removesuffix('_total')} {kind}", file=file)
            for device, watts in DEVICES.items():
                for second in range(0, 2 * DAY + 1, STEP):
                    print(f"{name}{{{labels % device}{extra}}} {value(watts, second)} {FIRST_DAY + second}", file=file)

        metric("ina260_energy_joules_total", "counter", lambda watts, second: int(watts * second), ',direction="forward"')
        metric("ina260_energy_joules_total", "counter", lambda *_: 0, ',direction="reverse"')
        metric("ina260_measured_seconds_total", "counter", lambda _, second: second)
        metric("ina260_power_watts", "gauge", lambda watts, _: watts * GAUGE)
        print("# EOF", file=file)
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", text, blocks], check=True, stdout=subprocess.DEVNULL
    )
