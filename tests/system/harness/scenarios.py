#!/usr/bin/env python3
"""Runs scenarios, each in a machine of its own that resumes where the image was saved.

Usage: scenarios.py IMAGE PACKAGE [NAME ...]
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
from pathlib import Path

from machine import PAYLOAD_SIZE, Machine, Trouble

HERE = Path(__file__).resolve().parent.parent
SECONDS = 300  # for a scenario, unless its file says "# seconds: N"
CONSOLE_LINES = 40  # of a failed scenario's machine
PROGRESS = "(Reading database"  # dpkg counts to a hundred

machines: set[Machine] = set()
speak = threading.Lock()


def pack(package: Path, payload: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "ina260-exporter.deb").write_bytes(package.read_bytes())
        subprocess.run(
            ["tar", "--create", "--file", payload, "-C", directory, "ina260-exporter.deb", "-C", HERE, "scenarios"],
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


def run(name: str, image: Path, payload: Path) -> bool:
    limit = re.search(r"^# seconds: (\d+)$", (HERE / f"scenarios/{name}.sh").read_text(), re.MULTILINE)
    start = time.monotonic()
    said: list[str] = []
    trouble = None
    with tempfile.TemporaryDirectory() as directory:
        machine = Machine(image, Path(directory), payload, state=image / "state")
        machines.add(machine)
        try:
            play(machine, name, start + int(limit[1] if limit else SECONDS), said)
        except Trouble as problem:
            trouble = problem
        finally:
            machine.stop()
            machines.discard(machine)
        console = machine.console.read_text(errors="replace").splitlines()
    with speak:
        print(f"{'FAILED' if trouble else 'passed':6}  {time.monotonic() - start:4.0f} s  {name}")
        if trouble:
            print(*(f"        | {line}" for line in said), f"        {trouble}; the console's end:", sep="\n")
            print(*(f"        | {line}" for line in console[-CONSOLE_LINES:]), sep="\n")
            # Whoever sees only the end of a long output sees what it was.
            print(*(f"{name}: {line}" for line in said if line.startswith("FAILED")), sep="\n")
        sys.stdout.flush()
    return trouble is None


def end_machines(_signal, _frame):
    for machine in machines:
        machine.process.kill()
    os._exit(1)


def main() -> int:
    image, package, *names = sys.argv[1:]
    known = sorted(path.stem for path in (HERE / "scenarios").glob("*.sh") if path.stem != "lib")
    if unknown := set(names) - set(known):
        print(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, end_machines)
    signal.signal(signal.SIGINT, end_machines)
    with tempfile.TemporaryDirectory() as directory:
        payload = Path(directory) / "payload"
        pack(Path(package), payload)
        with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 4)) as pool:
            runs = {pool.submit(run, name, Path(image), payload): name for name in names or known}
            failed = [runs[done] for done in as_completed(runs) if not done.result()]
        # An emulated machine can stand still for seconds while its neighbour has the processor. Whoever is at fault fails alone, too.
        for name in failed:
            print(f"once more, with the machine to itself: {name}")
        failed = [name for name in failed if not run(name, Path(image), payload)]
    print(f"{len(runs) - len(failed)} passed, {len(failed)} failed{':' if failed else ''}", *failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
