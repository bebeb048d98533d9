#!/usr/bin/env python3
"""Scrapes an exporter with VictoriaMetrics, as docs/integrations.md says.

Usage: victoria.py EXPORTER    (needs victoria-metrics in PATH)
"""

import json
import urllib.parse
from pathlib import Path

from harness import ROOT, Environment, block, fetch, free_ports, report, run_test, wait_for


def main(binary: str) -> None:
    with Environment() as environment:
        exporter = environment.exporter(str(Path(binary).resolve()), "pi4", "")
        page = (ROOT / "docs/integrations.md").read_text()
        scrape = block(page.split("\n## Prometheus\n")[1], "yaml")
        scrape = scrape.replace("pi4:8000", exporter)
        file = environment.directory / "scrape.yml"
        file.write_text(f"global: {{ scrape_interval: 1s }}\n{scrape}")
        address = f"127.0.0.1:{free_ports(1)[0]}"
        environment.run(
            "victoria",
            "victoria-metrics",
            f"-promscrape.config={file}",
            f"-httpListenAddr={address}",
            f"-storageDataPath={environment.directory}/data",
            # The file systems of containers often have less than its minimum.
            "-storage.minFreeDiskSpaceBytes=1MB",
        )

        def value(expression: str) -> float | None:
            query = urllib.parse.urlencode({"query": expression})
            text = fetch(f"http://{address}/api/v1/query?{query}")
            result = json.loads(text)["data"]["result"] if text else []
            return float(result[0]["value"][1]) if result else None

        up = 'ina260_up{hostname="pi4",job="ina260"}'
        wait_for(120, "a sensor that is up", lambda: value(up) == 1)
        energy = 'increase(ina260_energy_joules_total{hostname="pi4",direction="forward"}[1m])'
        joules = wait_for(120, "an increase of energy", lambda: value(energy))
    report([f"victoria-metrics: the sensor is up; {joules:.0f} J measured"])


if __name__ == "__main__":
    run_test(main, __doc__)
