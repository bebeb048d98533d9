#!/usr/bin/env python3
"""The dashboard against Grafana's types, and each of its queries against a Prometheus that scrapes real exporters.

Usage: dashboard.py EXPORTER    (needs prometheus and promtool in PATH)
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import history
import many
import schema
from grafana_foundation_sdk.models import units
from harness import EXAMPLES, ROOT, Prometheus, Stage, Trouble, report, wait_for

FILE = EXAMPLES / "grafana/ina260-exporter.json"
ALL_HOSTS = "All hosts"  # the row that may read every series; it is closed until somebody opens it
THOUSAND = 1000

# Three sensors with what only alerts and faults show. One is wired the other way round.
THREE = """
[[sensor]]
device = "orin"
alert = { on = "over-current", limit = "100mA" }
[[sensor]]
device = "disks"
address = 0x41
reverse = true
alert = { on = "over-power", limit = "100W" }
[[sensor]]
device = "nas"
address = 0x42
alert = { on = "under-voltage", limit = "1V" }
"""
FAULTS = "--simulate=no-answer@20+3,brown-out@30,overflow@35+5"
# Nothing of these is there before something happens; with `> 0` in it a query shows only that.
ONLY_WITH_ALERTS = ("ALERTS", "ina260_alert", "> 0", "ina260_up == 0")


def panels(dashboard: dict, closed: bool = True):
    """Each with the title of its row."""
    row = ""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
            if closed:
                yield from ((row, inner) for inner in panel["panels"])
        else:
            yield row, panel


def check_file(dashboard: dict) -> str:
    found = schema.problems(dashboard)
    known = {unit for unit in vars(units).values() if isinstance(unit, str)}
    seen: set[int] = set()
    cells: dict[tuple[int, int], str] = {}
    for row, panel in panels(dashboard):
        name = panel["title"]
        unit = panel["fieldConfig"]["defaults"].get("unit")
        if unit not in known:
            found.append(f"{name}: {unit} is no unit of Grafana's")
        if panel["id"] in seen:
            found.append(f"{name}: another panel has its number")
        seen.add(panel["id"])
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if x >= 24 or cells.setdefault((x, y), name) != name:
                    found.append(f"{name}: no place at {x}, {y}")
        for target in panel["targets"]:
            found += [f"{name}: {problem}" for problem in check_selectors(target["expr"], row == ALL_HOSTS)]
    if found:
        raise Trouble("\n".join(found))
    return f"{FILE.relative_to(ROOT)}: {len(seen)} panels as Grafana's types have them"


def check_selectors(expression: str, of_all: bool):
    """Each selector picks the host, by its name or by the address of its exporter."""
    for name, matchers in re.findall(r"\b((?:ina260|process|scrape)_\w+|up|ALERTS)\b(?:\{([^}]*)\})?", expression):
        if of_all or 'hostname="$hostname",device=~"$device"' in matchers or 'job=~"$job",instance=~"$instance"' in matchers:
            continue
        yield f"{name}{{{matchers}}} is not of the host that is picked"


def fill_in(expression: str, host: str, instance: str, **windows: str) -> str:
    """As Grafana does it."""
    values = {
        "hostname": host,
        "device": ".+",
        "job": "ina260",
        "instance": re.escape(instance).replace("\\", "\\\\"),
        "price": "0.35",
    }
    values |= {"__rate_interval": "2m", "__interval": "5s", "__range": "5m"} | windows
    for name in sorted(values, key=len, reverse=True):
        expression = expression.replace(f"${name}", values[name])
    if "$" in expression:
        raise Trouble(f"{expression}: a variable is left")
    return expression


def ask_all(prometheus: Prometheus, dashboard: dict, host: str, instance: str):
    """Every query: its panel, its result, the samples it reads, its seconds."""
    for row, panel in panels(dashboard):
        for target in panel["targets"]:
            now = time.time()
            if panel.get("interval") == "1d":
                now -= now % 86400
            expression = fill_in(target["expr"], host, instance)
            begin = time.monotonic()
            data = prometheus.get("query", query=expression, time=str(now), stats="all")
            samples = data["stats"]["samples"]["totalQueryableSamples"]
            yield row, panel["title"], expression, data["result"], samples, time.monotonic() - begin


def check_real(prometheus: Prometheus, dashboard: dict, three: str, one: str) -> list[str]:
    def without_data() -> list[str]:
        return [
            f"{title}: {expression}"
            for _, title, expression, result, _, _ in ask_all(prometheus, dashboard, "three", three)
            if not result
        ]

    try:
        wait_for(120, "data for every query", lambda: not without_data())
    except Trouble as late:
        raise Trouble("\n".join([f"{late}; none for", *without_data()])) from late
    count = 0
    for row, title, expression, result, _, _ in ask_all(prometheus, dashboard, "one", one):
        count += 1
        if not result and not any(part in expression for part in ONLY_WITH_ALERTS):
            raise Trouble(f"{title}: one sensor gives no data for {expression}")
        of_others = [
            r for r in result if r["metric"].get("hostname", "one") != "one" or r["metric"].get("instance", one) != one
        ]
        if of_others and row != ALL_HOSTS:
            raise Trouble(f"{title}: {expression} gives {of_others}")
    return [f"{count} queries have data, with three sensors and with one"]


def check_variables(prometheus: Prometheus, dashboard: dict) -> str:
    found = {}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            text = variable["query"]["query"].replace("$hostname", "three")
            selector, label = re.fullmatch(r"label_values\((.*),(\w+)\)", text).groups()
            found[variable["name"]] = prometheus.get(f"label/{label}/values", **{"match[]": selector})
    if (
        not {"one", "three"} <= set(found["hostname"])
        or found["device"] != ["disks", "nas", "orin"]
        or found["job"] != ["ina260"]
    ):
        raise Trouble(f"variables: {found}")
    return f"variables: {found}"


def expression_of(dashboard: dict, title: str) -> str:
    return next(panel["targets"][0]["expr"] for _, panel in panels(dashboard) if panel["title"] == title)


def check_history(prometheus: Prometheus, dashboard: dict) -> list[str]:
    """Two days of 10 W and of 100 mW in the counter, while the gauge is 10 % off, which tells the two apart."""

    def ask(title: str, device: str, when: float, **windows: str) -> float:
        expression = fill_in(expression_of(dashboard, title), history.HOST, "", **windows).replace(
            'device=~".+"', f'device="{device}"'
        )
        return float(prometheus.get("query", query=expression, time=str(when))["result"][0]["value"][1])

    day = history.FIRST_DAY
    said = []
    for device, watts in history.DEVICES.items():
        expected = {
            "Energy by day": (ask("Energy by day", device, day), watts * 86400 / 3.6e6),
            "Cost by day": (ask("Cost by day", device, day), watts * 86400 / 3.6e6 * 0.35),
            "Power, 1 min": (ask("Power", device, day + 7200, __rate_interval="1m"), watts * history.GAUGE),
            "Power, 1 h": (ask("Power", device, day + 7200, __rate_interval="1h"), watts),
        }
        # 100 J take 10 s of 10 W, but 1000 s of 100 mW.
        expected["Power, 10 min"] = (
            ask("Power", device, day + 7200, __rate_interval="10m"),
            watts if watts > 1 else watts * history.GAUGE,
        )
        for what, (seen, right) in expected.items():
            if abs(seen / right - 1) > 0.01:
                raise Trouble(f"{what} of {device}: {seen}, not {right}")
        said.append(f"{watts} W: " + ", ".join(f"{what} {seen:.5g}" for what, (seen, _) in expected.items()))
    return said


def check_many(prometheus: Prometheus, dashboard: dict, instance: str) -> list[str]:
    """What is asked of one host reads no more for being one of a thousand."""
    slowest = most = ("", 0.0)
    for row, title, expression, result, samples, seconds in ask_all(prometheus, dashboard, "three", instance):
        slowest = max(slowest, (title, seconds), key=lambda found: found[1])
        if row != ALL_HOSTS:
            most = max(most, (title, samples), key=lambda found: found[1])
            if samples >= 3 * THOUSAND:  # one of each sensor
                raise Trouble(f"{title}: {expression} reads {samples} samples")
    targets, sensors = prometheus.value("count(up == 1)"), prometheus.value("count(ina260_up)")
    series = prometheus.value("prometheus_tsdb_head_series")
    return [
        f"{targets:.0f} targets up, {sensors:.0f} sensors, {series:.0f} series",
        f"most read of one host: {most[1]} samples ({most[0]}); slowest of all: {slowest[1] * 1000:.0f} ms ({slowest[0]})",
    ]


def replace(file: Path, content: list) -> None:
    """In one go: Prometheus reads it whenever it changes."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(content))
    new.rename(file)


def main(binary: str) -> None:
    dashboard = json.loads(FILE.read_text())
    said = [check_file(dashboard)]
    with Stage() as stage:
        binary = str(Path(binary).resolve())
        targets = stage.directory / "targets.json"
        targets.write_text("[]")
        data = stage.directory / "data"
        history.write(stage.directory / "history.om", data)
        scrape = f"  - {{ job_name: ina260, file_sd_configs: [ {{ files: [ {targets} ], refresh_interval: 5s }} ] }}\n"
        prometheus = Prometheus(stage, scrape, data=data)
        # Not before, so that it sees their faults begin.
        three = stage.exporter(binary, "three", THREE, FAULTS)
        one = stage.exporter(binary, "one", "")
        lost = stage.exporter(binary, "lost", "wait_for_sensor = true\n", "--simulate=no-answer@0")
        listed = [{"targets": [three, one, lost]}]
        replace(targets, listed)
        prometheus.wait_for_scrapes(4, 3, 60)
        said += check_real(prometheus, dashboard, three, one)
        said.append(check_variables(prometheus, dashboard))
        said += check_history(prometheus, dashboard)

        listed += many.targets(many.serve(three), THOUSAND)
        replace(targets, listed)
        prometheus.wait_for_scrapes(THOUSAND + 4, 2, 180)
        said += check_many(prometheus, dashboard, three)
    report(said)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    try:
        main(sys.argv[1])
    except (Trouble, subprocess.CalledProcessError) as trouble:
        raise SystemExit(f"dashboard: {trouble}") from trouble
