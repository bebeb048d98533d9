#!/usr/bin/env python3
"""Checks the dashboard with Grafana's types, and its queries with Prometheus and exporters.

Usage: dashboard.py EXPORTER DAY    (needs prometheus and promtool in PATH; DAY is day.rs)
"""

import json
import re
import time
from pathlib import Path

import history
import many
import schema
from grafana_foundation_sdk.models import units
from harness import (
    EXAMPLES,
    ROOT,
    Environment,
    Prometheus,
    TestFailure,
    report,
    run_test,
    wait_for,
)

FILE = EXAMPLES / "grafana/ina260-exporter.json"
ALL_HOSTS = "All hosts"  # the row that may read every series; it is collapsed by default
THOUSAND = 1000

# Three sensors with alerts and faults; one with reversed current.
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
# Queries with one of these have no data before an alert or a fault.
ONLY_WITH_ALERTS = ("ALERTS", "ina260_alert", "> 0", "unless")


def panels(dashboard: dict, closed: bool = True):
    """Yields each panel with the title of its row."""
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
            found.append(f"{name}: {unit} is not a unit of Grafana")
        if panel["id"] in seen:
            found.append(f"{name}: ID {panel['id']} is used twice")
        seen.add(panel["id"])
        position = panel["gridPos"]
        for x in range(position["x"], position["x"] + position["w"]):
            for y in range(position["y"], position["y"] + position["h"]):
                if x >= 24 or cells.setdefault((x, y), name) != name:
                    found.append(f"{name}: overlaps or exceeds the grid at {x}, {y}")
        for target in panel["targets"]:
            problems = check_selectors(target["expr"], row == ALL_HOSTS)
            found += [f"{name}: {problem}" for problem in problems]
    if found:
        raise TestFailure("\n".join(found))
    return f"{FILE.relative_to(ROOT)}: {len(seen)} panels match Grafana's types"


SELECTOR = r"\b((?:ina260|process|scrape)_\w+|up|ALERTS)\b(?:\{([^}]*)\})?"
OF_HOST = ('hostname="$hostname",device=~"$device"', 'job=~"$job",instance=~"$instance"')


def check_selectors(expression: str, of_all: bool):
    """Yields the selectors that do not select the host, by name or by the exporter's address."""
    for name, matchers in re.findall(SELECTOR, expression):
        if not of_all and not any(wanted in matchers for wanted in OF_HOST):
            yield f"{name}{{{matchers}}} does not select the host"


def fill_in(expression: str, host: str, instance: str, **windows: str) -> str:
    """Replaces the variables, as Grafana does."""
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
        raise TestFailure(f"{expression}: unknown variable")
    return expression


def ask_all(prometheus: Prometheus, dashboard: dict, host: str, instance: str):
    """Yields row, panel, expression, result, samples read and duration in seconds of each query."""
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
    except TestFailure as late:
        raise TestFailure("\n".join([f"{late}; no data for", *without_data()])) from late
    count = 0
    for row, title, expression, result, _, _ in ask_all(prometheus, dashboard, "one", one):
        count += 1
        if not result and not any(part in expression for part in ONLY_WITH_ALERTS):
            raise TestFailure(f"{title}: no data for {expression} with one sensor")
        of_others = [
            series["metric"]
            for series in result
            if series["metric"].get("hostname", "one") != "one"
            or series["metric"].get("instance", one) != one
        ]
        if of_others and row != ALL_HOSTS:
            raise TestFailure(f"{title}: {expression} selects other hosts: {of_others}")
    return [f"{count} queries have data, with three sensors and with one"]


def check_variables(prometheus: Prometheus, dashboard: dict) -> str:
    found = {}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            text = variable["query"]["query"].replace("$hostname", "three")
            selector, label = re.fullmatch(r"label_values\((.*),(\w+)\)", text).groups()
            values = prometheus.get(f"label/{label}/values", **{"match[]": selector})
            found[variable["name"]] = values
    if (
        not {"one", "three"} <= set(found["hostname"])
        or found["device"] != ["disks", "nas", "orin"]
        or found["job"] != ["ina260"]
    ):
        raise TestFailure(f"variables: {found}")
    return f"variables: {found}"


def expression_of(dashboard: dict, title: str) -> str:
    return next(
        panel["targets"][0]["expr"] for _, panel in panels(dashboard) if panel["title"] == title
    )


# Time ranges: hours, seconds between two points, and $__rate_interval, as Grafana computes them for
# a panel of 1,440 points and a scrape every 15 s.
RANGES = ((3, 15, "1m"), (24, 60, "75s"))


def mean_power_rule() -> str:
    """Returns the expression of the recording rule of mean power."""
    text = (EXAMPLES / "prometheus/rules.yml").read_text()
    rule = text.split("- record: device:ina260_power_watts:mean5m\n")[1]
    return rule.split("expr: |\n")[1].split("\n\n")[0]


def check_history(prometheus: Prometheus, dashboard: dict) -> list[str]:
    """Mean power and energy are within 1 % of the truth, at each zoom of the dashboard."""

    def mean(expression: str, hours: int, step: int, window: str) -> float:
        text = fill_in(expression, history.HOST, "", __rate_interval=window, __interval=f"{step}s")
        span = {"start": str(history.END - hours * 3600), "end": str(history.END)}
        data = prometheus.get("query_range", query=text, step=str(step), **span)
        found = {series["metric"]["device"]: series["values"] for series in data["result"]}
        values = [float(value) for _, value in found.get(device, [])]
        return sum(values) / len(values) if values else float("nan")

    results = []
    for device, watts in history.MEANS.items():
        seen = {"rule, 24 h": mean(mean_power_rule(), 24, 60, "")}
        for title in ("Power", "Power of $device"):
            for hours, step, window in RANGES:
                expression = expression_of(dashboard, title)
                seen[f"{title}, {hours} h"] = mean(expression, hours, step, window)
        for what, power in seen.items():
            if not abs(power / watts - 1) <= 0.01:
                raise TestFailure(f"{what} of {device}: {power:.4g} W, expected {watts:.4g} W")
        values = (f"{what} {power:.4g} W" for what, power in seen.items())
        results.append(f"{device}, {watts:.4g} W: {'; '.join(values)}")

    hours = history.MEANS["small"] * 86400 / 3.6e6
    for title, right in {"Energy by day": hours, "Cost by day": hours * 0.35}.items():
        expression = fill_in(expression_of(dashboard, title), history.HOST, "")
        data = prometheus.get("query", query=expression, time=str(history.BEGIN))
        found = {series["metric"]["device"]: series["value"][1] for series in data["result"]}
        if abs(float(found["small"]) / right - 1) > 0.01:
            raise TestFailure(f"{title}: {found['small']}, expected {right}")
    return results


def check_many(prometheus: Prometheus, dashboard: dict, instance: str) -> list[str]:
    """Queries about one host read no more samples if there are a thousand."""
    slowest = most = ("", 0.0)
    for query in ask_all(prometheus, dashboard, "three", instance):
        row, title, expression, _, samples, seconds = query
        slowest = max(slowest, (title, seconds), key=lambda found: found[1])
        if row != ALL_HOSTS:
            most = max(most, (title, samples), key=lambda found: found[1])
            if samples >= 3 * THOUSAND:  # one sample of each sensor
                raise TestFailure(f"{title}: {expression} reads {samples} samples")
    targets = prometheus.value("count(up == 1)")
    sensors = prometheus.value("count(ina260_up)")
    series = prometheus.value("prometheus_tsdb_head_series")
    return [
        f"{targets:.0f} targets up, {sensors:.0f} sensors, {series:.0f} series",
        f"most samples read about one host: {most[1]} ({most[0]})",
        f"slowest query: {slowest[1] * 1000:.0f} ms ({slowest[0]})",
    ]


def check_unreachable(prometheus: Prometheus, dashboard: dict, host: str, sensors: int) -> str:
    """Sensors of an exporter that cannot be scraped are down."""
    query = f'absent(ina260_up{{hostname="{host}"}})'
    wait_for(60, f"{host} to be lost", lambda: prometheus.get("query", query=query)["result"])
    expression = fill_in(expression_of(dashboard, "Sensors down"), host, "")
    down = prometheus.value(expression)
    if down != sensors:
        raise TestFailure(f"{expression}: {down} of {sensors} unreachable sensors")
    return f"{sensors} sensors of an unreachable exporter are down"


def replace(file: Path, content: list) -> None:
    """Replaces the file atomically: Prometheus reads it when it changes."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(content))
    new.rename(file)


def main(binary: str, day: str) -> None:
    dashboard = json.loads(FILE.read_text())
    results = [check_file(dashboard)]
    with Environment() as environment:
        binary = str(Path(binary).resolve())
        targets = environment.directory / "targets.json"
        targets.write_text("[]")
        data = environment.directory / "data"
        history.write(day, environment.directory / "history.om", data)
        discovery = f"{{ files: [ {targets} ], refresh_interval: 5s }}"
        scrape = f"  - {{ job_name: ina260, file_sd_configs: [ {discovery} ] }}\n"
        prometheus = Prometheus(environment, scrape, data=data)
        # Started after Prometheus, so that the start of their faults is scraped.
        three = environment.exporter(binary, "three", THREE, FAULTS)
        one = environment.exporter(binary, "one", "")
        waiting = "wait_for_sensor = true\n"
        lost = environment.exporter(binary, "lost", waiting, "--simulate=no-answer@0")
        listed = [{"targets": [three, one, lost]}]
        replace(targets, listed)
        prometheus.wait_for_scrapes(4, 3, 60)
        results += check_real(prometheus, dashboard, three, one)
        results.append(check_variables(prometheus, dashboard))
        results += check_history(prometheus, dashboard)

        listed += many.targets(many.serve(three), THOUSAND)
        replace(targets, listed)
        prometheus.wait_for_scrapes(THOUSAND + 4, 2, 180)
        results += check_many(prometheus, dashboard, three)

        replace(targets, [{"targets": [one, lost]}])
        results.append(check_unreachable(prometheus, dashboard, "three", 3))
    report(results)


if __name__ == "__main__":
    run_test(main, __doc__)
