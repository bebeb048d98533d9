"""A virtual machine: a qemu process, its QMP socket and the agent on the second serial port."""

import json
import os
import shlex
import socket
import subprocess
import time
from pathlib import Path

MEMORY = "768M"
PROCESSORS = "2"  # some faults need two threads that run at the same time
# qemu caches translated code by address: with randomised addresses, starting a process takes three
# times as long.
KERNEL = "root=/dev/vda rw console=ttyS0 norandmaps"
BOARDS = {
    "amd64": ["qemu-system-x86_64", "-machine", "pc"]
    + ["-serial", "chardev:console", "-serial", "chardev:agent"],
    # The processor of a Raspberry Pi 4. The board has only one serial port, of another type; two
    # PCI cards give the same ports as on a PC.
    "arm64": ["qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a72"]
    + ["-device", "pci-serial,chardev=console", "-device", "pci-serial,chardev=agent"],
}
# A processor that executes 500 million instructions in each second of the machine's time: processor
# times do not depend on this machine and its load, and waiting takes no time on this machine.
COUNTING = ["-accel", "tcg", "-smp", "1", "-icount", "shift=1,sleep=off", "-rtc", "clock=vm"]
# Of the disk with the package and the scenarios; fixed, as it is part of the saved state.
PAYLOAD_SIZE = 64 << 20


class MachineError(Exception):
    """The machine exited, timed out or reported an error."""


def accelerator(architecture: str) -> str:
    # Without support by the processor, /dev/kvm can be opened but then hangs.
    flags = Path("/proc/cpuinfo").read_text().split()
    supported = "vmx" in flags or "svm" in flags
    hardware = architecture == "amd64" and supported and Path("/dev/kvm").exists()
    return "kvm" if hardware else "tcg"


class Machine:
    """A running machine, which resumes the saved state of its image if there is one.

    `image` is a directory with a disk, vmlinuz, initrd and the architecture's name. `work` is the
    directory for sockets and the console log. Writes to the disk are discarded unless `keep`. If it
    `counts` instructions, the machine boots, as the state is that of another processor.
    """

    def __init__(
        self, image: Path, work: Path, payload: Path, keep: bool = False, counts: bool = False
    ):
        self.console = work / "console.log"
        self.output = b""  # received from the agent, not yet returned by `line`
        qmp, agent = work / "qmp", work / "agent"
        (disk,) = image.glob("disk.*")
        architecture = (image / "architecture").read_text().strip()
        snapshot = "off" if keep else "on"
        arguments = [
            *BOARDS[architecture], "-nodefaults", "-no-user-config", "-display", "none",
            *(COUNTING if counts else ["-accel", accelerator(architecture), "-smp", PROCESSORS]),
            "-m", MEMORY,
            "-kernel", image / "vmlinuz", "-initrd", image / "initrd", "-append", KERNEL,
            "-drive", f"file={disk},format={disk.suffix[1:]},if=virtio,snapshot={snapshot}",
            "-drive", f"file={payload},format=raw,if=virtio,readonly=on",
            "-device", "virtio-rng-pci",
            "-chardev", f"file,id=console,path={self.console}",
            "-chardev", f"socket,id=agent,path={agent},server=on,wait=off",
            "-qmp", f"unix:{qmp},server=on,wait=off",
        ]  # fmt: skip
        state = image / "state"
        if state.exists() and not counts:
            arguments += ["-incoming", f"exec:cat {shlex.quote(str(state))}"]
        errors = (work / "qemu.log").open("wb")
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors
        )
        try:
            self.agent = self.connect(agent)
            self.control = self.connect(qmp).makefile("rw")
            self.control.readline()  # its greeting
            self.command("qmp_capabilities")
        except Exception as error:
            self.stop()
            raise MachineError(f"cannot start qemu: {(work / 'qemu.log').read_text()}") from error

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
            reply = json.loads(self.control.readline())
            if "error" in reply:
                raise MachineError(f"qemu: {name} failed: {reply['error']['desc']}")
            if "return" in reply:
                return reply["return"]

    def save(self, state: Path) -> None:
        """Saves the machine's state and stops it, so that the disk matches that state."""
        self.command("migrate-set-parameters", **{"max-bandwidth": 0})
        self.command("migrate", uri=f"exec:cat > {shlex.quote(str(state))}")
        while (status := self.command("query-migrate")["status"]) not in ("completed", "failed"):
            time.sleep(0.2)
        if status == "failed":
            raise MachineError("qemu cannot save the machine's state")
        self.command("quit")
        self.process.wait()

    def wait_for_boot(self, end: float) -> None:
        """Waits until the guest has booted; `end` is a deadline on the monotonic clock."""
        output = []
        while (line := self.line(end)) != "@@ready":
            output.append(line)
        if output != ["running"]:  # `systemctl is-system-running`: no unit failed
            raise MachineError(f"the guest's state is {output}")

    def send(self, line: str) -> None:
        """Sends a command to the agent."""
        self.agent.sendall(line.encode() + b"\n")

    def line(self, end: float) -> str:
        """Returns the agent's next line; `end` is a deadline on the monotonic clock."""
        while b"\n" not in self.output:
            self.agent.settimeout(max(end - time.monotonic(), 0.001))
            try:
                received = self.agent.recv(65536)
            except TimeoutError:
                raise MachineError("timed out") from None
            if not received:
                raise MachineError("the machine exited")
            self.output += received
        line, self.output = self.output.split(b"\n", 1)
        return line.decode(errors="replace").rstrip("\r")

    def stop(self) -> float:
        """Stops the machine and returns its processor time in seconds."""
        used = 0
        if self.process.poll() is None:
            # proc_pid_stat(5): after the name in brackets, fields 11 and 12 are utime and stime.
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
            used = int(fields[11]) + int(fields[12])
        self.process.kill()
        self.process.wait()
        return used / os.sysconf("SC_CLK_TCK")
