#!/usr/bin/env python3
"""Runs scenarios on every release, each in a machine of its own that resumes a saved state: with the package installed, or,
where the scenario's file says "# on the bare system", without.

A scenario whose file says "# on one release" knows our program alone: without a name it is played on the first release only. One
that says "# on amd64" needs i2c-stub, which Debian's other kernels don't have: without a name it is not played on them.

Usage: scenarios.py PACKAGE RELEASE=IMAGE ... -- [NAME ...]
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from machine import PAYLOAD_SIZE, Machine, Trouble

HERE = Path(__file__).resolve().parent.parent
SECONDS = 300  # for a scenario, unless its file says "# seconds: N"
ON_BARE_SYSTEM = "\n# on the bare system\n"
ON_ONE_RELEASE = "\n# on one release\n"
ON_AMD64 = "\n# on amd64\n"
CONSOLE_LINES = 40  # of a failed scenario's machine
PREPARATION = "preparation"  # the script whose result most scenarios resume from
PROGRESS = "(Reading database"  # dpkg counts to a hundred

machines: set[Machine] = set()
speak = threading.Lock()


def pack(package: Path, payload: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "ina260-exporter.deb").write_bytes(package.read_bytes())
        subprocess.run(
            ["tar", "--create", "--file", payload, "-C", directory, "ina260-exporter.deb"]
            + ["-C", HERE, "scenarios", "-C", HERE.parent, "package/older", "-C", HERE.parent.parent, "debian/tests"],
            check=True,
        )
    if payload.stat().st_size > PAYLOAD_SIZE:
        raise SystemExit(f"{package} does not fit into {PAYLOAD_SIZE} bytes")
    os.truncate(payload, PAYLOAD_SIZE)


def play(machine: Machine, name: str, end: float, said: list[str]) -> None:
    """Lets the agent run the scenario, stage by stage: one more after each reboot that it asks for."""
    stage = 1
    machine.order(f"run {name} {stage} {int(time.time())}")
    while True:
        line = machine.line(end)
        if line == "@@reboot":
            while machine.line(end) != "@@ready":
                pass
            stage += 1
            machine.order(f"run {name} {stage} {int(time.time())}")
        elif done := re.fullmatch(r"(.*)@@exit (\d+)", line):
            if done[2] != "0":
                raise Trouble(f"exit code {done[2]}")
            return
        elif not line.startswith(PROGRESS):
            said.append(line)


def install(image: Path, payload: Path, installed: Path) -> None:
    """Makes an image beside `image`, saved when the package was just installed."""
    installed.mkdir()
    for name in "vmlinuz", "initrd", "architecture":
        (installed / name).symlink_to(image / name)
    disk = installed / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", image / "disk.raw", disk], check=True)
    said: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        (installed / "state").symlink_to(image / "state")
        machine = Machine(installed, Path(directory), payload, keep=True)
        machines.add(machine)
        try:
            play(machine, PREPARATION, time.monotonic() + SECONDS, said)
            (installed / "state").unlink()
            machine.save(installed / "state")
        except Trouble as trouble:
            raise SystemExit("\n".join([*said, f"the package cannot be installed: {trouble}"])) from trouble
        finally:
            machine.stop()
            machines.discard(machine)


@dataclass(frozen=True)
class Scenario:
    release: str
    name: str
    image: Path
    seconds: int

    @classmethod
    def of(cls, release: str, name: str, text: str, bare: Path, installed: Path) -> "Scenario":
        limit = re.search(r"^# seconds: (\d+)$", text, re.MULTILINE)
        return cls(release, name, bare if ON_BARE_SYSTEM in text else installed, int(limit[1]) if limit else SECONDS)

    def run(self, payload: Path) -> bool:
        start = time.monotonic()
        said: list[str] = []
        trouble = None
        with tempfile.TemporaryDirectory() as directory:
            machine = Machine(self.image, Path(directory), payload)
            machines.add(machine)
            try:
                play(machine, self.name, start + self.seconds, said)
            except Trouble as problem:
                trouble = problem
            finally:
                used = machine.stop()
                machines.discard(machine)
            console = machine.console.read_text(errors="replace").splitlines()
        with speak:
            took = f"{time.monotonic() - start:4.0f} s, {used:3.0f} s of processor"
            print(f"{'FAILED' if trouble else 'passed':6}  {took}  {self.release} {self.name}")
            if trouble:
                print(*(f"        | {line}" for line in said), f"        {trouble}; the console's end:", sep="\n")
                print(*(f"        | {line}" for line in console[-CONSOLE_LINES:]), sep="\n")
                # Whoever sees only the end of a long output sees what it was.
                print(*(f"{self.name}: {line}" for line in said if line.startswith("FAILED")), sep="\n")
            sys.stdout.flush()
        return trouble is None


def pool() -> ThreadPoolExecutor:
    # One more than processors: scenarios wait for half of their time.
    return ThreadPoolExecutor(max_workers=min((os.cpu_count() or 1) + 1, 4))


def end_machines(_signal, _frame):
    for machine in machines:
        machine.process.kill()
    os._exit(1)


def main() -> int:
    separator = sys.argv.index("--")
    package, *images = sys.argv[1:separator]
    names = sys.argv[separator + 1 :]
    files = {path.stem: path.read_text() for path in sorted((HERE / "scenarios").glob("*.sh"))}
    files = {name: text for name, text in files.items() if name not in ("lib", PREPARATION)}
    if unknown := set(names) - set(files):
        print(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(files)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, end_machines)
    signal.signal(signal.SIGINT, end_machines)
    # Beside the images, which are cleared away some day, as what a killed run leaves behind is.
    beside = Path(images[0].partition("=")[2]).parent
    with tempfile.TemporaryDirectory(dir=beside, prefix="run-") as directory, pool() as workers:
        payload = Path(directory) / "payload"
        pack(Path(package), payload)
        scenarios = []
        preparations = []
        for pair in images:
            release, _, image = pair.partition("=")
            installed = Path(directory) / release
            passed_over = [ON_ONE_RELEASE] if scenarios else []
            if (Path(image) / "architecture").read_text().strip() != "amd64":
                passed_over.append(ON_AMD64)
            wanted = names or [name for name, text in files.items() if not any(mark in text for mark in passed_over)]
            some = [Scenario.of(release, name, files[name], Path(image), installed) for name in wanted]
            if any(scenario.image == installed for scenario in some):
                preparations.append(workers.submit(install, Path(image), payload, installed))
            scenarios += some
        for preparation in preparations:
            preparation.result()
        runs = {workers.submit(scenario.run, payload): scenario for scenario in scenarios}
        failed = [runs[done] for done in as_completed(runs) if not done.result()]
        # An emulated machine can stand still for seconds while its neighbour has the processor. Whoever is at fault fails alone, too.
        for scenario in failed:
            print(f"once more, with the machine to itself: {scenario.release} {scenario.name}")
        failed = [scenario for scenario in failed if not scenario.run(payload)]
    print(
        f"{len(runs) - len(failed)} passed, {len(failed)} failed{':' if failed else ''}",
        *(f"{scenario.release}/{scenario.name}" for scenario in failed),
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
