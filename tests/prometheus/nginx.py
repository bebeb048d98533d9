#!/usr/bin/env python3
"""The nginx example, but for its paths and port as it is, in front of a real exporter: who gets metrics, and who does not.

Usage: nginx.py EXPORTER    (needs nginx, openssl and prometheus in PATH)
"""

import base64
import http.client
import socket
import ssl
import subprocess
import sys
from pathlib import Path

from harness import EXAMPLES, Prometheus, Stage, Trouble, free_ports, report, wait_for

FILE = EXAMPLES / "nginx/ina260-exporter.conf"
PASSWORD = "correct horse"
IDLE = 64


def make_secrets(directory: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "2", "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=DNS:localhost", "-keyout", "ina260-exporter.key", "-out", "ina260-exporter.crt"],
        cwd=directory, check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    # The command of the example's head.
    hashed = subprocess.run(
        ["openssl", "passwd", "-5", "-stdin"], input=PASSWORD, check=True, capture_output=True, text=True
    ).stdout
    (directory / "ina260-exporter.htpasswd").write_text(f"prometheus:{hashed}")
    # nginx reads it as another user when it was started by root.
    directory.chmod(0o755)


def start(stage: Stage, binary: str) -> int:
    """The exporter and nginx; the port of nginx."""
    where = stage.directory
    make_secrets(where)
    metrics_socket = where / "metrics.sock"
    (where / "exporter.toml").write_text(f'listen = "unix:{metrics_socket}"\n')
    stage.run("exporter", binary, "--simulate", "--config", where / "exporter.toml", "--hostname", "pi4")
    port = free_ports(1)[0]
    text = (
        FILE.read_text()
        .replace("/etc/nginx/", f"{where}/")
        .replace("/run/ina260-exporter/metrics.sock", str(metrics_socket))
    )
    (where / "example.conf").write_text(text.replace("8443", str(port)))
    temporary = " ".join(
        f"{kind}_temp_path {where}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (where / "nginx.conf").write_text(
        f"daemon off; pid {where}/nginx.pid; worker_processes 1; events {{ worker_connections 512; }}\n"
        f"http {{ access_log off; {temporary} include {where}/example.conf; }}\n"
    )
    nginx = stage.run("nginx", "nginx", "-p", where, "-c", where / "nginx.conf", "-e", where / "error.log")
    stage.ends.callback(nginx.wait, 60)
    stage.ends.callback(nginx.terminate)  # its worker would outlive a kill

    def answers() -> bool:
        if nginx.poll() is not None:
            raise Trouble("nginx ended: " + stage.log("nginx"))
        try:
            return ask(port, where, PASSWORD)[0] == 200
        except OSError:
            return False

    wait_for(60, "metrics through nginx", answers)
    return port


def ask(
    port: int, where: Path, password: str | None = None, path: str = "/metrics", method: str = "GET", tls: bool = True
) -> tuple[int, str]:
    if tls:
        trust = ssl.create_default_context(cafile=str(where / "ina260-exporter.crt"))
        connection: http.client.HTTPConnection = http.client.HTTPSConnection("localhost", port, timeout=30, context=trust)
    else:
        connection = http.client.HTTPConnection("localhost", port, timeout=30)
    headers = {}
    if password is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(f"prometheus:{password}".encode()).decode()
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def check_requests(port: int, where: Path) -> list[str]:
    expected = {
        "with the password": (200, ask(port, where, PASSWORD)),
        "without a password": (401, ask(port, where)),
        "with a wrong password": (401, ask(port, where, "wrong")),
        "without TLS": (400, ask(port, where, PASSWORD, tls=False)),
        "of another path": (404, ask(port, where, PASSWORD, path="/")),
        "with POST": (403, ask(port, where, PASSWORD, method="POST")),
    }
    for what, (status, (seen, body)) in expected.items():
        if seen != status or ("ina260_" in body) != (status == 200):
            raise Trouble(f"a request {what}: {seen}, not {status}: {body[:200]}")
    return ["requests: " + ", ".join(f"{what} {status}" for what, (status, _) in expected.items())]


def check_idle_clients(port: int, where: Path) -> str:
    """More than the exporter's own listener would have to bear; nginx ends them."""
    idle = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(IDLE)]
    if ask(port, where, PASSWORD)[0] != 200:
        raise Trouble(f"no metrics beside {IDLE} idle clients")
    for client in idle:
        try:
            while client.recv(4096):
                pass
        except TimeoutError as late:
            raise Trouble("an idle client was kept for a minute") from late
        client.close()
    return f"{IDLE} idle clients: metrics beside them, and all ended by nginx"


def check_prometheus(stage: Stage, port: int) -> str:
    """The scrape configuration of docs/fleet.md; and the same without the password."""
    common = f"scheme: https, tls_config: {{ ca_file: {stage.directory}/ina260-exporter.crt }}, "
    common += f"static_configs: [ {{ targets: [ 'localhost:{port}' ] }} ]"
    secret = stage.directory / "password"
    secret.write_text(PASSWORD)
    scrape = f"  - {{ job_name: ina260, {common}, basic_auth: {{ username: prometheus, password_file: {secret} }} }}\n"
    scrape += f"  - {{ job_name: stranger, {common} }}\n"
    prometheus = Prometheus(stage, scrape, interval="1s")
    wait_for(60, "a scrape with the password", lambda: prometheus.value('up{job="ina260"}') == 1)

    def targets_refused() -> list[dict]:
        return [target for target in prometheus.get("targets")["activeTargets"] if "401" in target["lastError"]]

    refused = wait_for(60, "a refused scrape", targets_refused)
    if [target["labels"]["job"] for target in refused] != ["stranger"] or prometheus.value('ina260_up{hostname="pi4"}') != 1:
        raise Trouble(f"refused: {refused}")
    return "prometheus: scrapes with the password, is refused without"


def main(binary: str) -> None:
    with Stage() as stage:
        port = start(stage, str(Path(binary).resolve()))
        said = check_requests(port, stage.directory)
        said.append(check_idle_clients(port, stage.directory))
        said.append(check_prometheus(stage, port))
    report(said)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    try:
        main(sys.argv[1])
    except Trouble as trouble:
        raise SystemExit(f"nginx: {trouble}") from trouble
