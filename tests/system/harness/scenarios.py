#!/usr/bin/env python3
"""Runs scenarios on every release, each in its own machine, which resumes a saved state.

By default that is the state with the package installed. Marks in a scenario's file change that:

  # on the bare system   resume the state after boot, without the package
  # on one release       independent of systemd, dpkg and the kernel: run on the first release only
  # on amd64             needs i2c-stub, which Debian has on amd64 only, or version 0.1.0
  # by name only         takes long: `make soak`
  # with peers           compares with the programs in the archive $PEERS of image/peers, in a
                         machine that boots and counts instructions
  # seconds: N           time limit

All but the first mark and the time limit are ignored for a scenario given by NAME.

Usage: scenarios.py PACKAGE RELEASE=IMAGE ... -- [NAME ...]    ($FIRST_RELEASE: package of 0.1.0)
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

from machine import PAYLOAD_SIZE, Machine, MachineError

HERE = Path(__file__).resolve().parent.parent
SECONDS = 300  # default time limit
ON_BARE_SYSTEM = "\n# on the bare system\n"
ON_ONE_RELEASE = "\n# on one release\n"
ON_AMD64 = "\n# on amd64\n"
BY_NAME_ONLY = "\n# by name only\n"
WITH_PEERS = "\n# with peers\n"
CONSOLE_LINES = 40  # shown of a failed scenario's machine
PREPARATION = "preparation"  # the script whose result most scenarios resume from
PROGRESS = "(Reading database"  # dpkg's progress indicator

machines: set[Machine] = set()
printing = threading.Lock()


def pack(package: Path, payload: Path, *others: Path) -> None:
    """Writes the package, the scenarios and the files that they use to a tar archive."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "ina260-exporter.deb").write_bytes(package.read_bytes())
        if first := os.environ.get("FIRST_RELEASE"):
            (Path(directory) / "first-release.deb").write_bytes(Path(first).read_bytes())
        subprocess.run(
            ["tar", "--create", "--file", payload]
            + ["-C", directory, *os.listdir(directory)]
            + ["-C", HERE, "scenarios"]
            + ["-C", HERE.parent, "package/older"]
            + ["-C", HERE.parent.parent, "debian/tests"]
            + [word for path in others for word in ("-C", path.parent, path.name)],
            check=True,
        )
    if payload.stat().st_size > PAYLOAD_SIZE:
        raise SystemExit(f"payload too large: limited to {PAYLOAD_SIZE} bytes")
    os.truncate(payload, PAYLOAD_SIZE)


def play(machine: Machine, name: str, end: float, output: list[str]) -> None:
    """Runs all stages of a scenario: one, and another after each reboot that it requests."""
    stage = 1
    machine.send(f"run {name} {stage} {int(time.time())}")
    while True:
        line = machine.line(end)
        if line == "@@reboot":
            while machine.line(end) != "@@ready":
                pass
            stage += 1
            machine.send(f"run {name} {stage} {int(time.time())}")
        elif done := re.fullmatch(r"(.*)@@exit (\d+)", line):
            if done[2] != "0":
                raise MachineError(f"exit code {done[2]}")
            return
        elif not line.startswith(PROGRESS):
            output.append(line)


def install(image: Path, payload: Path, installed: Path) -> None:
    """Makes an image based on `image` with the package installed, and saves its state."""
    installed.mkdir()
    for name in "vmlinuz", "initrd", "architecture":
        (installed / name).symlink_to(image / name)
    disk = installed / "disk.qcow2"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", image / "disk.raw", disk],
        check=True,
    )
    output: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        (installed / "state").symlink_to(image / "state")
        machine = Machine(installed, Path(directory), payload, keep=True)
        machines.add(machine)
        try:
            play(machine, PREPARATION, time.monotonic() + SECONDS, output)
            (installed / "state").unlink()
            machine.save(installed / "state")
        except MachineError as error:
            message = "\n".join([*output, f"cannot install the package: {error}"])
            raise SystemExit(message) from error
        finally:
            machine.stop()
            machines.discard(machine)


@dataclass(frozen=True)
class Scenario:
    """A scenario on a release."""

    release: str
    name: str
    image: Path
    payload: Path
    is_measurement: bool  # prints figures, in a machine that counts instructions
    seconds: int

    def run(self) -> bool:
        """Runs the scenario, prints its result and returns whether it passed."""
        start = time.monotonic()
        output: list[str] = []
        error = None
        with tempfile.TemporaryDirectory() as directory:
            counts, end = self.is_measurement, start + self.seconds
            machine = Machine(self.image, Path(directory), self.payload, counts=counts)
            machines.add(machine)
            try:
                if counts:
                    machine.wait_for_boot(end)
                    play(machine, PREPARATION, end, output)
                    output.clear()
                play(machine, self.name, end, output)
            except MachineError as reason:
                error = reason
            finally:
                used = machine.stop()
                machines.discard(machine)
            console = machine.console.read_text(errors="replace").splitlines()
        with printing:
            took = f"{time.monotonic() - start:4.0f} s, {used:3.0f} s of processor time"
            print(f"{'FAILED' if error else 'passed':6}  {took}  {self.release} {self.name}")
            if error or self.is_measurement:
                print(*(f"        | {line}" for line in output), sep="\n")
            if error:
                print(f"        {error}; last lines of the console:")
                print(*(f"        | {line}" for line in console[-CONSOLE_LINES:]), sep="\n")
                # Repeated at the end of a long output.
                failures = (line for line in output if line.startswith("FAILED"))
                print(*(f"{self.name}: {line}" for line in failures), sep="\n")
            sys.stdout.flush()
        return error is None


def pool() -> ThreadPoolExecutor:
    # One more than processors: scenarios wait for about half of their time.
    return ThreadPoolExecutor(max_workers=min((os.cpu_count() or 1) + 1, 4))


def kill_machines(_signal, _frame):
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
        unknown, known = ", ".join(sorted(unknown)), ", ".join(files)
        print(f"unknown scenario {unknown}; expected one of {known}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, kill_machines)
    signal.signal(signal.SIGINT, kill_machines)
    # Next to the images, where tests/system/run removes what a killed run left.
    cache = Path(images[0].partition("=")[2]).parent
    with tempfile.TemporaryDirectory(dir=cache, prefix="run-") as directory, pool() as workers:
        payload = Path(directory) / "payload"
        pack(Path(package), payload)
        with_peers = payload
        if peers := os.environ.get("PEERS"):
            with_peers = Path(directory) / "payload-with-peers"
            pack(Path(package), with_peers, Path(peers))
        scenarios = []
        preparations = []
        for pair in images:
            release, _, image = pair.partition("=")
            installed = Path(directory) / release
            skipped = [BY_NAME_ONLY, ON_ONE_RELEASE] if scenarios else [BY_NAME_ONLY]
            if (Path(image) / "architecture").read_text().strip() != "amd64":
                skipped.append(ON_AMD64)
            wanted = names or [
                name for name, text in files.items() if not any(mark in text for mark in skipped)
            ]
            some = []
            for name in wanted:
                text = files[name]
                limit = re.search(r"^# seconds: (\d+)$", text, re.MULTILINE)
                is_bare = ON_BARE_SYSTEM in text or WITH_PEERS in text
                some.append(
                    Scenario(
                        release,
                        name,
                        Path(image) if is_bare else installed,
                        with_peers if WITH_PEERS in text else payload,
                        WITH_PEERS in text,
                        int(limit[1]) if limit else SECONDS,
                    )
                )
            if any(scenario.image == installed for scenario in some):
                preparations.append(workers.submit(install, Path(image), payload, installed))
            scenarios += some
        for preparation in preparations:
            preparation.result()
        runs = {workers.submit(scenario.run): scenario for scenario in scenarios}
        failed = [runs[done] for done in as_completed(runs) if not done.result()]
        # An emulated machine can stall for seconds while others use the processors. A real failure
        # also occurs when the scenario runs alone.
        for scenario in failed:
            print(f"repeating alone: {scenario.release} {scenario.name}")
        failed = [scenario for scenario in failed if not scenario.run()]
    print(
        f"{len(runs) - len(failed)} passed, {len(failed)} failed{':' if failed else ''}",
        *(f"{scenario.release}/{scenario.name}" for scenario in failed),
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
