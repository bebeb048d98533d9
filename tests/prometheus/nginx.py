#!/usr/bin/env python3
"""Tests the nginx examples, with other paths and ports: in front of an exporter, and as a local
proxy for `watch`.

Usage: nginx.py EXPORTER    (needs nginx, openssl and prometheus in PATH)
"""

import base64
import fcntl
import http.client
import os
import pty
import select
import socket
import ssl
import struct
import subprocess
import termios
import time
from pathlib import Path

from harness import (
    EXAMPLES,
    ROOT,
    Environment,
    Prometheus,
    TestFailure,
    block,
    free_ports,
    report,
    run_test,
    wait_for,
)

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
    run_nginx(environment, "nginx", text.replace("8443", str(port)))
    wait_for(60, "metrics through nginx", lambda: responds(port, where, PASSWORD))
    return port


def run_nginx(environment: Environment, name: str, text: str) -> None:
    """Runs an nginx with the servers of a configuration."""
    where = environment.directory / name
    where.mkdir()
    (where / "servers.conf").write_text(text)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {where}/{kind};" for kind in kinds)
    (where / "nginx.conf").write_text(
        f"daemon off; pid {where}/nginx.pid; worker_processes 1;\n"
        f"events {{ worker_connections 512; }}\n"
        f"http {{ access_log off; {temporary} include {where}/servers.conf; }}\n"
    )
    files = ["-p", where, "-c", where / "nginx.conf", "-e", where / "error.log"]
    nginx = environment.run(f"{name}-log", "nginx", *files)
    environment.ends.callback(nginx.wait, 60)
    environment.ends.callback(nginx.terminate)  # its worker would survive a kill


def responds(port: int, where: Path, password: str | None, tls: bool = True) -> bool:
    try:
        return request(port, where, password, tls=tls)[0] == 200
    except OSError:
        return False


def check_proxy(environment: Environment, binary: str, port: int) -> str:
    """Watches the exporter through the local proxy of docs/commands.md."""
    where = environment.directory
    local = free_ports(1)[0]
    names = {
        "127.0.0.1:8443": f"127.0.0.1:{local}",
        "https://pi4:8443": f"https://localhost:{port}",
        "/etc/nginx/pi4.crt": f"{where}/ina260-exporter.crt",
        "/etc/nginx/pi4.password": f"{where}/pi4.password",
        "THE PASSWORD": PASSWORD,
    }

    def here(text: str) -> str:
        for shown, used in names.items():
            text = text.replace(shown, used)
        return text

    page = (ROOT / "docs/commands.md").read_text()
    proxy = (EXAMPLES / "nginx/local-proxy.conf").read_text()
    if block(page, "nginx") not in proxy:
        raise TestFailure("docs/commands.md and local-proxy.conf differ")
    command = "umask" + page.split("\numask")[1].split("\nsystemctl")[0]
    subprocess.run(["sh", "-c", here(command)], check=True)
    run_nginx(environment, "local", here(proxy))
    wait_for(60, "metrics through the proxy", lambda: responds(local, where, None, tls=False))
    watch(binary, f"localhost:{local}", "pi4")
    return "a local proxy: `watch` shows the exporter through TLS and the password"


def watch(binary: str, url: str, text: str) -> None:
    """Runs `watch` in a terminal until it shows a text in its table, then quits it."""
    terminal, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [binary, "watch", "--url", url],
        stdin=other, stdout=other, stderr=other, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(other)
    seen, end = b"", time.monotonic() + 60
    try:
        while b"deepx" not in seen or text.encode() not in seen:
            if time.monotonic() > end or process.poll() is not None:
                raise TestFailure(f"watch does not show {text}: {seen[-2000:]!r}")
            if select.select([terminal], [], [], 1)[0]:
                seen += os.read(terminal, 65536)
        os.write(terminal, b"q")
        while process.poll() is None and time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    os.read(terminal, 65536)
                except OSError:
                    break
        if process.wait(60) != 0:
            raise TestFailure(f"watch exited with {process.returncode}")
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


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
        binary = str(Path(binary).resolve())
        port = start(environment, binary)
        results = check_requests(port, environment.directory)
        results.append(check_proxy(environment, binary, port))
        results.append(check_idle_clients(port, environment.directory))
        results.append(check_prometheus(environment, port))
    report(results)


if __name__ == "__main__":
    run_test(main, __doc__)
