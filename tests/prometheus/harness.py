"""Runs Prometheus and exporters with simulated sensors on the loopback interface."""

import inspect
import json
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "config"
RULES = ("rules.yml", "alerts.yml")


class TestFailure(Exception):
    """An expectation that was not met."""


def free_ports(count: int) -> list[int]:
    """Returns free ports below the kernel's ephemeral range, so that they stay free."""
    ports: list[int] = []
    candidates = random.sample(range(20000, 30000), 10000)
    while len(ports) < count:
        port = candidates.pop()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
    return ports


def wait_for(seconds: float, what: str, probe):
    """Calls `probe` until its result is true, and returns that."""
    end = time.monotonic() + seconds
    while not (found := probe()):
        if time.monotonic() > end:
            raise TestFailure(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.2)
    return found


def fetch(url: str) -> bytes | None:
    """Returns the body of a response, or None if there is none."""
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            return response.read()
    except (OSError, urllib.error.URLError):
        return None


class Environment:
    """A temporary directory and processes, which are removed and killed at the end."""

    def __init__(self) -> None:
        self.ends = ExitStack()
        self.directory = Path(self.ends.enter_context(tempfile.TemporaryDirectory()))

    def __enter__(self) -> "Environment":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        return self

    def __exit__(self, *_) -> None:
        self.ends.close()

    def run(self, name: str, *command: str | Path) -> subprocess.Popen:
        log = (self.directory / f"{name}.log").open("w")
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory)
        self.ends.callback(log.close)
        self.ends.callback(process.wait)
        self.ends.callback(process.kill)
        return process

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def exporter(self, binary: str, name: str, configuration: str, *options: str) -> str:
        """Starts an exporter and returns its address."""
        file = self.directory / f"{name}.toml"
        file.write_text(configuration)
        address = f"127.0.0.1:{free_ports(1)[0]}"
        arguments = ["--config", file, "--hostname", name, "--listen", address]
        self.run(name, binary, *arguments, *(options or ["--simulate"]))
        return address


class Prometheus:
    """Prometheus with the rules and alerts of `config/prometheus/`, evaluated at each scrape."""

    def __init__(
        self,
        environment: Environment,
        scrape: str,
        interval: str = "5s",
        data: Path | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        file = environment.directory / "prometheus.yml"
        address = f"127.0.0.1:{free_ports(1)[0]}"
        for name in RULES:
            text = (EXAMPLES / "prometheus" / name).read_text()
            text = re.sub(r"^ +interval: .*\n", "", text, flags=re.MULTILINE)
            (environment.directory / name).write_text(text)
        file.write_text(
            f"global: {{ scrape_interval: {interval}, evaluation_interval: {interval} }}\n"
            f"rule_files: [ {', '.join(RULES)} ]\nscrape_configs:\n{scrape}"
            f"  - {{ job_name: prometheus, static_configs: [ {{ targets: [ '{address}' ] }} ] }}\n"
        )
        self.url = f"http://{address}"
        self.process = environment.run(
            "prometheus",
            "prometheus",
            f"--config.file={file}",
            f"--storage.tsdb.path={data or environment.directory / 'data'}",
            f"--web.listen-address={address}",
            *options,
        )

        def ready() -> bool:
            if self.process.poll() is not None:
                raise TestFailure("prometheus exited: " + environment.log("prometheus")[-2000:])
            return fetch(f"{self.url}/-/ready") is not None

        wait_for(120, "prometheus", ready)

    def get(self, path: str, **parameters: str):
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=120) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise TestFailure(f"{error.read().decode()} for {parameters}") from error

    def query(self, expression: str, **parameters: str) -> list[dict]:
        return self.get("query", query=expression, **parameters)["result"]

    def value(self, expression: str) -> float:
        """Returns the value of a query with one result, or 0 if it has none."""
        result = self.query(expression)
        return float(result[0]["value"][1]) if result else 0.0

    def wait_for_scrapes(self, targets: int, scrapes: int, seconds: float) -> None:
        """Waits until all targets, Prometheus included, are up and were scraped this often."""
        enough = f"count(count_over_time(up[1h]) >= {scrapes} and up == 1) == {targets}"
        wait_for(seconds, f"{scrapes} scrapes of {targets} targets", lambda: self.query(enough))


def block(text: str, language: str) -> str:
    """Returns the first block of code in a language from Markdown."""
    return text.split(f"```{language}\n")[1].split("```")[0]


def report(passed: list[str]) -> None:
    print(*(f"  {line}" for line in passed), sep="\n")


def run_test(main: Callable[..., None], usage: str | None) -> None:
    """Calls `main` with the program's arguments, and exits with a message if the test fails."""
    try:
        arguments = inspect.signature(main).bind(*sys.argv[1:])
    except TypeError:
        raise SystemExit(usage) from None
    try:
        main(*arguments.args)
    except (TestFailure, subprocess.CalledProcessError) as failure:
        raise SystemExit(f"{Path(sys.argv[0]).stem}: {failure}") from failure
