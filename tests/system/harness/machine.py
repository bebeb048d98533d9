"""One virtual machine: a qemu process, its control socket (QMP) and the agent on its second serial port."""

import json
import os
import shlex
import socket
import subprocess
import time
from pathlib import Path

MEMORY = "768M"
PROCESSORS = "2"  # as boards have several: some faults take two threads at the same time
# qemu's translations of a program are for the addresses it runs at: where each process has others, starting one takes three times as long.
KERNEL = "root=/dev/vda rw console=ttyS0 norandmaps"
BOARDS = {
    "amd64": ["qemu-system-x86_64", "-machine", "pc", "-serial", "chardev:console", "-serial", "chardev:agent"],
    # The processor of a Raspberry Pi 4. The board has one serial port of its own, of another kind: two cards are what a PC has.
    "arm64": ["qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a72"]
    + ["-device", "pci-serial,chardev=console", "-device", "pci-serial,chardev=agent"],
}
PAYLOAD_SIZE = 64 << 20  # the saved state knows the size of the disk that brings package and scenarios


class Trouble(Exception):
    """The machine did not do what it should: it went away, or the time is up."""


def accelerator(architecture: str) -> str:
    # A KVM without the processor's support opens, and then hangs.
    flags = Path("/proc/cpuinfo").read_text().split()
    hardware = architecture == "amd64" and ("vmx" in flags or "svm" in flags) and Path("/dev/kvm").exists()
    return "kvm" if hardware else "tcg"


class Machine:
    """`image` is a directory with a disk, vmlinuz, initrd and the architecture's name; `work` gets the sockets and the console's log.

    It resumes the image's state if there is one. What it writes to the disk is lost at its end, but with `keep`."""

    def __init__(self, image: Path, work: Path, payload: Path, keep: bool = False):
        self.console = work / "console.log"
        self.output = b""  # of the agent, not yet handed out
        qmp, agent = work / "qmp", work / "agent"
        (disk,) = image.glob("disk.*")
        architecture = (image / "architecture").read_text().strip()
        arguments = [
            *BOARDS[architecture], "-nodefaults", "-no-user-config", "-display", "none",
            "-accel", accelerator(architecture), "-m", MEMORY, "-smp", PROCESSORS,
            "-kernel", image / "vmlinuz", "-initrd", image / "initrd",
            "-append", KERNEL,
            "-drive", f"file={disk},format={disk.suffix[1:]},if=virtio,snapshot={'off' if keep else 'on'}",
            "-drive", f"file={payload},format=raw,if=virtio,readonly=on",
            "-device", "virtio-rng-pci",
            "-chardev", f"file,id=console,path={self.console}",
            "-chardev", f"socket,id=agent,path={agent},server=on,wait=off",
            "-qmp", f"unix:{qmp},server=on,wait=off",
        ]  # fmt: skip
        state = image / "state"
        if state.exists():
            arguments += ["-incoming", f"exec:cat {shlex.quote(str(state))}"]
        errors = (work / "qemu.log").open("wb")
        self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        try:
            self.agent = self.connect(agent)
            self.control = self.connect(qmp).makefile("rw")
            self.control.readline()  # its greeting
            self.command("qmp_capabilities")
        except Exception as error:
            self.stop()
            raise Trouble(f"qemu does not start: {(work / 'qemu.log').read_text()}") from error

    def connect(self, path: Path) -> socket.socket:
        end = time.monotonic() + 30
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(path))
                return connection
            except OSError:
                connection.close()
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.05)

    def command(self, name: str, **arguments) -> dict:
        self.control.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.control.flush()
        while True:
            answer = json.loads(self.control.readline())
            if "error" in answer:
                raise Trouble(f"qemu refuses {name}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def save(self, state: Path) -> None:
        """Writes the machine's state and ends it; the disk is then as that state knows it."""
        self.command("migrate-set-parameters", **{"max-bandwidth": 0})
        self.command("migrate", uri=f"exec:cat > {shlex.quote(str(state))}")
        while (status := self.command("query-migrate")["status"]) not in ("completed", "failed"):
            time.sleep(0.2)
        if status == "failed":
            raise Trouble("qemu cannot save the machine's state")
        self.command("quit")
        self.process.wait()

    def order(self, line: str) -> None:
        self.agent.sendall(line.encode() + b"\n")

    def line(self, end: float) -> str:
        """The agent's next line; `end` is on the monotonic clock."""
        while b"\n" not in self.output:
            self.agent.settimeout(max(end - time.monotonic(), 0.001))
            try:
                received = self.agent.recv(65536)
            except TimeoutError:
                raise Trouble("the time is up") from None
            if not received:
                raise Trouble("the machine went away")
            self.output += received
        line, self.output = self.output.split(b"\n", 1)
        return line.decode(errors="replace").rstrip("\r")

    def stop(self) -> float:
        """Ends it; the seconds that it had a processor for."""
        used = 0
        if self.process.poll() is None:
            # After the name in brackets come the state and ten more fields.
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
            used = int(fields[11]) + int(fields[12])
        self.process.kill()
        self.process.wait()
        return used / os.sysconf("SC_CLK_TCK")
