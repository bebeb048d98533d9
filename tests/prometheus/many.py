"""Serves the metrics of one exporter under many host names, each at its own path."""

import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def serve(address: str) -> str:
    """Starts a server and returns its address.

    /N/metrics are the metrics of `address` as host many-N, at most a second old.
    """
    cache: dict[str, float | str] = {"until": 0.0, "text": ""}
    lock = threading.Lock()

    def current() -> str:
        with lock:
            if time.monotonic() > cache["until"]:
                with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
                    cache.update(text=response.read().decode(), until=time.monotonic() + 1)
            return cache["text"]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            number = self.path.split("/")[1]
            body = current().replace('hostname="three"', f'hostname="many-{number}"').encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"127.0.0.1:{server.server_port}"


def targets(server: str, count: int) -> list[dict]:
    """Returns the targets for file_sd.

    They are scraped less often than the others, since they have three times as many series as a Pi.
    """
    rare = {"__scrape_interval__": "20s", "__scrape_timeout__": "20s"}
    return [
        {
            "targets": [server],
            "labels": {
                "instance": f"many-{number}:8000",
                "__metrics_path__": f"/{number}/metrics",
                **rare,
            },
        }
        for number in range(count)
    ]
