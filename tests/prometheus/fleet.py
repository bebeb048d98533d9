#!/usr/bin/env python3
"""Runs 200 exporters with two sensors each, a Prometheus with rules and alerts that scrapes them,
and an agent with remote write. Checks that everything is up, and prints the load.

Usage: fleet.py EXPORTER [COUNT]    (needs prometheus in PATH)
"""

import json
import time
from pathlib import Path

from harness import (
    ROOT,
    Environment,
    Prometheus,
    TestFailure,
    fetch,
    free_ports,
    report,
    run_test,
    wait_for,
)

COUNT = 200
INTERVAL = 10  # seconds
SAMPLE_INTERVAL = 15  # seconds; for the printed number of samples per day
TWO = """
[[sensor]]
device = "orin"
[[sensor]]
device = "disks"
address = 0x41
"""


def start(environment: Environment, binary: str, count: int) -> list[str]:
    """Starts the exporters, waits until they serve results, and returns their addresses."""
    file = environment.directory / "two.toml"
    file.write_text(TWO)
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    for number, address in enumerate(addresses):
        name = f"pi{number}"
        arguments = ["--config", file, "--hostname", name, "--listen", address]
        environment.run(name, binary, "--simulate", *arguments)
    for number, address in enumerate(addresses):

        def serves(url: str = f"http://{address}/metrics") -> bool:
            return b"ina260_power_watts{" in (fetch(url) or b"")

        try:
            wait_for(120, address, serves)
        except TestFailure as failure:
            raise TestFailure(f"{failure}: {environment.log(f'pi{number}')}") from failure
    return addresses


def cost(address: str) -> list[str]:
    """Returns the size of a scrape: for a sensor, and for the exporter itself."""
    text = fetch(f"http://{address}/metrics")
    if text is None:
        raise TestFailure(f"{address} does not respond")
    lines = [line for line in text.decode().splitlines() if line and not line.startswith("#")]
    sensor = [line for line in lines if 'device="disks"' in line]
    daemon = [line for line in lines if "device=" not in line]
    per_day = 86400 // SAMPLE_INTERVAL
    size = sum(len(line) + 1 for line in sensor)
    # Prometheus adds five series about each scrape: up, scrape_duration_seconds, ...
    return [
        f"scrape of two sensors: {len(lines)} series, {len(text)} bytes",
        f"per sensor: {len(sensor)} series, {size} bytes, {len(sensor) * per_day} samples per day",
        f"per exporter: {len(daemon)} series and 5 of Prometheus,"
        f" {(len(daemon) + 5) * per_day} samples per day",
    ]


def check_rules(prometheus: Prometheus) -> list[str]:
    """Waits until all groups were evaluated without an error, and returns how long that took."""
    groups = wait_for(
        120,
        "every rule evaluated",
        lambda: (
            (found := prometheus.get("rules")["groups"])
            and all(r["health"] == "ok" for g in found for r in g["rules"])
            and found
        ),
    )
    firing = [
        alert["labels"]
        for group in groups
        for rule in group["rules"]
        for alert in rule.get("alerts", [])
        if alert["state"] == "firing"
    ]
    if firing:
        raise TestFailure(f"alerts fire: {firing[:3]}")
    return [
        f"group {group['name']}: {len(group['rules'])} rules,"
        f" {group['evaluationTime'] * 1000:.1f} ms"
        for group in groups
    ]


def check_scrapes(prometheus: Prometheus, count: int) -> list[str]:
    targets = prometheus.get("targets")["activeTargets"]
    down = [target["lastError"] for target in targets if target["health"] != "up"]
    sensors = prometheus.value("count(ina260_up == 1)")
    if down or sensors != 2 * count:
        raise TestFailure(f"{len(down)} targets down, {sensors:.0f} sensors up: {down[:3]}")

    def memory(job: str) -> float:
        expression = f'quantile(0.5, process_resident_memory_bytes{{job="{job}"}})'
        return prometheus.value(expression) / 2**20

    def duration(quantile: float) -> float:
        expression = f'quantile({quantile}, scrape_duration_seconds{{job="ina260"}})'
        return prometheus.value(expression) * 1000

    series = prometheus.value("prometheus_tsdb_head_series")
    return [
        f"{count} exporters and {sensors:.0f} sensors up, {series:.0f} series",
        f"scrape duration: p50 {duration(0.5):.1f} ms, p99 {duration(0.99):.1f} ms,"
        f" max {duration(1):.1f} ms",
        f"resident memory: Prometheus {memory('prometheus'):.0f} MiB,"
        f" exporter {memory('ina260'):.1f} MiB",
    ]


def check_agent(environment: Environment, prometheus: Prometheus, address: str) -> str:
    """Runs the agent of docs/fleet.md for one exporter, with other addresses and files."""
    document = (ROOT / "docs/fleet.md").read_text()
    blocks = [block.split("\n```")[0] for block in document.split("\n```yaml\n")[1:]]
    text = next(block for block in blocks if "remote_write:" in block)
    listed = environment.directory / "site.json"
    listed.write_text(json.dumps([{"targets": [address]}]))
    (environment.directory / "password").write_text("not checked")
    for shown, here in {
        "/etc/prometheus/ina260/*.json": str(listed),
        "/etc/prometheus/password": str(environment.directory / "password"),
        "https://metrics.example.org": prometheus.url,
        "60s": "1s",
    }.items():
        if shown not in text:
            raise TestFailure(f"docs/fleet.md: {shown} not found in the agent's configuration")
        text = text.replace(shown, here)
    (environment.directory / "agent.yml").write_text(text)
    environment.run(
        "agent",
        "prometheus",
        "--enable-feature=agent",
        f"--config.file={environment.directory}/agent.yml",
        f"--storage.agent.path={environment.directory}/agent",
        f"--web.listen-address=127.0.0.1:{free_ports(1)[0]}",
    )

    def received() -> bool:
        sensors = prometheus.value('count(ina260_up{site="north"} == 1)')
        return sensors == 2 and prometheus.value('up{site="north"}') == 1

    wait_for(120, "samples of the agent", received)
    return "an agent sends two sensors by remote write"


def main(binary: str, exporters: str = str(COUNT)) -> None:
    count = int(exporters)
    with Environment() as environment:
        begin = time.monotonic()
        addresses = start(environment, str(Path(binary).resolve()), count)
        results = [f"{count} exporters serving after {time.monotonic() - begin:.0f} s"]
        results += cost(addresses[0])
        targets = environment.directory / "targets.json"
        targets.write_text(json.dumps([{"targets": addresses}]))
        scrape = f"  - {{ job_name: ina260, file_sd_configs: [ {{ files: [ {targets} ] }} ] }}\n"
        options = ("--web.enable-remote-write-receiver",)
        prometheus = Prometheus(environment, scrape, interval=f"{INTERVAL}s", options=options)
        prometheus.wait_for_scrapes(count + 1, 3, 180)
        results += check_rules(prometheus)
        results += check_scrapes(prometheus, count)
        results.append(check_agent(environment, prometheus, addresses[0]))
    report(results)


if __name__ == "__main__":
    run_test(main, __doc__)
