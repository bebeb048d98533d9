#!/usr/bin/env python3
"""Tests the nginx example, with other paths and another port, in front of an exporter.

Usage: nginx.py EXPORTER    (needs nginx, openssl and prometheus in PATH)
"""

import base64
import http.client
import socket
import ssl
import subprocess
import sys
from pathlib import Path

from harness import EXAMPLES, Prometheus, Environment, TestFailure, free_ports, report, wait_for

FILE = EXAMPLES / "nginx/ina260-exporter.conf"
PASSWORD = "correct horse"
IDLE = 64


def make_secrets(directory: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        + ["-keyout", "ina260-exporter.key", "-out", "ina260-exporter.crt"],
        cwd=directory, check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    # The command in the comment of the example.
    hashed = subprocess.run(
        ["openssl", "passwd", "-5", "-stdin"],
        input=PASSWORD, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    (directory / "ina260-exporter.htpasswd").write_text(f"prometheus:{hashed}")
    # Started by root, nginx reads it as another user.
    directory.chmod(0o755)


def start(environment: Environment, binary: str) -> int:
    """Starts the exporter and nginx, and returns the port of nginx."""
    where = environment.directory
    make_secrets(where)
    metrics_socket = where / "metrics.sock"
    (where / "exporter.toml").write_text(f'listen = "unix:{metrics_socket}"\n')
    arguments = ["--config", where / "exporter.toml", "--hostname", "pi4"]
    environment.run("exporter", binary, "--simulate", *arguments)
    port = free_ports(1)[0]
    text = (
        FILE.read_text()
        .replace("/etc/nginx/", f"{where}/")
        .replace("/run/ina260-exporter/metrics.sock", str(metrics_socket))
    )
    (where / "example.conf").write_text(text.replace("8443", str(port)))
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {where}/{kind};" for kind in kinds)
    (where / "nginx.conf").write_text(
        f"daemon off; pid {where}/nginx.pid; worker_processes 1;\n"
        f"events {{ worker_connections 512; }}\n"
        f"http {{ access_log off; {temporary} include {where}/example.conf; }}\n"
    )
    files = ["-p", where, "-c", where / "nginx.conf", "-e", where / "error.log"]
    nginx = environment.run("nginx", "nginx", *files)
    environment.ends.callback(nginx.wait, 60)
    environment.ends.callback(nginx.terminate)  # its worker would survive a kill

    def responds() -> bool:
        if nginx.poll() is not None:
            raise TestFailure("nginx exited: " + environment.log("nginx"))
        try:
            return request(port, where, PASSWORD)[0] == 200
        except OSError:
            return False

    wait_for(60, "metrics through nginx", responds)
    return port


def request(
    port: int,
    where: Path,
    password: str | None = None,
    path: str = "/metrics",
    method: str = "GET",
    tls: bool = True,
) -> tuple[int, str]:
    """Returns the status and the body of the response."""
    connection = http.client.HTTPConnection("localhost", port, timeout=30)
    if tls:
        trust = ssl.create_default_context(cafile=str(where / "ina260-exporter.crt"))
        connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=trust)
    headers = {}
    if password is not None:
        credentials = base64.b64encode(f"prometheus:{password}".encode()).decode()
        headers["Authorization"] = f"Basic {credentials}"
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def check_requests(port: int, where: Path) -> list[str]:
    expected = {
        "with the password": (200, request(port, where, PASSWORD)),
        "without a password": (401, request(port, where)),
        "with a wrong password": (401, request(port, where, "wrong")),
        "without TLS": (400, request(port, where, PASSWORD, tls=False)),
        "of another path": (404, request(port, where, PASSWORD, path="/")),
        "with POST": (403, request(port, where, PASSWORD, method="POST")),
    }
    for what, (status, (seen, body)) in expected.items():
        if seen != status or ("ina260_" in body) != (status == 200):
            raise TestFailure(f"request {what}: {seen}, expected {status}: {body[:200]}")
    statuses = (f"{what} {status}" for what, (status, _) in expected.items())
    return ["requests: " + ", ".join(statuses)]


def check_idle_clients(port: int, where: Path) -> str:
    """Idle clients do not block scrapes, and nginx disconnects them."""
    idle = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(IDLE)]
    if request(port, where, PASSWORD)[0] != 200:
        raise TestFailure(f"no metrics with {IDLE} idle clients")
    for client in idle:
        try:
            while client.recv(4096):
                pass
        except TimeoutError as late:
            raise TestFailure("an idle client was not disconnected within a minute") from late
        client.close()
    return f"{IDLE} idle clients: metrics are served, and nginx disconnects all of them"


def check_prometheus(environment: Environment, port: int) -> str:
    """Scrapes with the configuration of docs/fleet.md, and with the same without a password."""
    certificate = environment.directory / "ina260-exporter.crt"
    common = f"scheme: https, tls_config: {{ ca_file: {certificate} }}, "
    common += f"static_configs: [ {{ targets: [ 'localhost:{port}' ] }} ]"
    secret = environment.directory / "password"
    secret.write_text(PASSWORD)
    login = f"basic_auth: {{ username: prometheus, password_file: {secret} }}"
    scrape = f"  - {{ job_name: ina260, {common}, {login} }}\n"
    scrape += f"  - {{ job_name: stranger, {common} }}\n"
    prometheus = Prometheus(environment, scrape, interval="1s")
    wait_for(60, "a scrape with the password", lambda: prometheus.value('up{job="ina260"}') == 1)

    def rejected() -> list[str]:
        targets = prometheus.get("targets")["activeTargets"]
        return [target["labels"]["job"] for target in targets if "401" in target["lastError"]]

    jobs = wait_for(60, "a rejected scrape", rejected)
    if jobs != ["stranger"] or prometheus.value('ina260_up{hostname="pi4"}') != 1:
        raise TestFailure(f"rejected jobs: {jobs}")
    return "prometheus: scrapes with the password, is rejected without"


def main(binary: str) -> None:
    with Environment() as environment:
        port = start(environment, str(Path(binary).resolve()))
        results = check_requests(port, environment.directory)
        results.append(check_idle_clients(port, environment.directory))
        results.append(check_prometheus(environment, port))
    report(results)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    try:
        main(sys.argv[1])
    except TestFailure as failure:
        raise SystemExit(f"nginx: {failure}") from failure
