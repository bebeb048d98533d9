#!/usr/bin/env python3
"""Two hundred exporters of two sensors each, scraped by one Prometheus with the rules and alerts, and one by an agent
that sends it on: is all up, and what does it cost?

Usage: fleet.py EXPORTER [COUNT]    (needs prometheus in PATH)
"""

import json
import sys
import time
from pathlib import Path

from harness import ROOT, Prometheus, Stage, Trouble, fetch, free_ports, report, wait_for

COUNT = 200
INTERVAL = 10  # seconds
TOLD = 15  # what a day costs is told for this one
TWO = """
[[sensor]]
device = "orin"
[[sensor]]
device = "disks"
address = 0x41
"""


def start(stage: Stage, binary: str, count: int) -> list[str]:
    file = stage.directory / "two.toml"
    file.write_text(TWO)
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    for number, address in enumerate(addresses):
        name = f"pi{number}"
        stage.run(name, binary, "--simulate", "--config", file, "--hostname", name, "--listen", address)
    for number, address in enumerate(addresses):
        try:
            wait_for(
                120, address, lambda address=address: b"ina260_power_watts{" in (fetch(f"http://{address}/metrics") or b"")
            )
        except Trouble as trouble:
            raise Trouble(f"{trouble}: {stage.log(f'pi{number}')}") from trouble
    return addresses


def cost(address: str) -> list[str]:
    """Of a sensor and of a daemon, in a scrape."""
    text = fetch(f"http://{address}/metrics")
    if text is None:
        raise Trouble(f"{address} does not answer")
    lines = [line for line in text.decode().splitlines() if line and not line.startswith("#")]
    sensor = [line for line in lines if 'device="disks"' in line]
    daemon = [line for line in lines if "device=" not in line]
    a_day = 86400 // TOLD
    # Prometheus adds its own: up, and what the scrape took and gave.
    return [
        f"a scrape of two sensors: {len(lines)} series, {len(text)} bytes",
        f"a sensor: {len(sensor)} series, {sum(len(line) + 1 for line in sensor)} bytes, {len(sensor) * a_day} samples a day",
        f"a daemon besides: {len(daemon)} series and 5 of Prometheus, {(len(daemon) + 5) * a_day} samples a day",
    ]


def check_rules(prometheus: Prometheus) -> list[str]:
    """Each group was evaluated without an error; how long that took."""
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
        raise Trouble(f"alerts fire: {firing[:3]}")
    return [
        f"rules of {group['name']}: {group['evaluationTime'] * 1000:.1f} ms for {len(group['rules'])} rules"
        for group in groups
    ]


def check_scrapes(prometheus: Prometheus, count: int) -> list[str]:
    down = [target["lastError"] for target in prometheus.get("targets")["activeTargets"] if target["health"] != "up"]
    sensors = prometheus.value("count(ina260_up == 1)")
    if down or sensors != 2 * count:
        raise Trouble(f"{len(down)} targets down, {sensors:.0f} sensors up: {down[:3]}")

    def memory(job: str) -> float:
        return prometheus.value(f'quantile(0.5, process_resident_memory_bytes{{job="{job}"}})')

    duration = {
        q: prometheus.value(f'quantile({q}, scrape_duration_seconds{{job="ina260"}})') * 1000 for q in (0.5, 0.99, 1)
    }
    return [
        f"{count} exporters and {sensors:.0f} sensors up, {prometheus.value('prometheus_tsdb_head_series'):.0f} series",
        "scrapes: " + ", ".join(f"{'max' if q == 1 else f'p{q * 100:.0f}'} {ms:.1f} ms" for q, ms in duration.items()),
        f"resident: prometheus {memory('prometheus') / 2**20:.0f} MiB, an exporter {memory('ina260') / 2**20:.1f} MiB",
    ]


def check_agent(stage: Stage, prometheus: Prometheus, address: str) -> str:
    """The agent of docs/fleet.md, but for its addresses, files and interval, sends what one exporter serves."""
    document = (ROOT / "docs/fleet.md").read_text()
    blocks = [block.split("\n```")[0] for block in document.split("\n```yaml\n")[1:]]
    text = next(block for block in blocks if "remote_write:" in block)
    listed = stage.directory / "site.json"
    listed.write_text(json.dumps([{"targets": [address]}]))
    (stage.directory / "password").write_text("not asked for")
    for shown, here in {
        "/etc/prometheus/ina260/*.json": str(listed),
        "/etc/prometheus/password": str(stage.directory / "password"),
        "https://metrics.example.org": prometheus.url,
        "60s": "1s",
    }.items():
        if shown not in text:
            raise Trouble(f"docs/fleet.md: no {shown} in the agent's configuration")
        text = text.replace(shown, here)
    (stage.directory / "agent.yml").write_text(text)
    stage.run(
        "agent",
        "prometheus",
        "--enable-feature=agent",
        f"--config.file={stage.directory}/agent.yml",
        f"--storage.agent.path={stage.directory}/agent",
        f"--web.listen-address=127.0.0.1:{free_ports(1)[0]}",
    )
    wait_for(
        120,
        "an agent's samples at the centre",
        lambda: prometheus.value('count(ina260_up{site="north"} == 1)') == 2 and prometheus.value('up{site="north"}') == 1,
    )
    return "an agent sends two sensors by remote write"


def main(binary: str, count: int) -> None:
    with Stage() as stage:
        begin = time.monotonic()
        addresses = start(stage, str(Path(binary).resolve()), count)
        said = [f"{count} exporters serve after {time.monotonic() - begin:.0f} s"]
        said += cost(addresses[0])
        targets = stage.directory / "targets.json"
        targets.write_text(json.dumps([{"targets": addresses}]))
        scrape = f"  - {{ job_name: ina260, file_sd_configs: [ {{ files: [ {targets} ] }} ] }}\n"
        prometheus = Prometheus(stage, scrape, interval=f"{INTERVAL}s", options=("--web.enable-remote-write-receiver",))
        prometheus.wait_for_scrapes(count + 1, 3, 180)
        said += check_rules(prometheus)
        said += check_scrapes(prometheus, count)
        said.append(check_agent(stage, prometheus, addresses[0]))
    report(said)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    try:
        main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else COUNT)
    except Trouble as trouble:
        raise SystemExit(f"fleet: {trouble}") from trouble
