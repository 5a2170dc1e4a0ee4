"""A proxy between the functions and the local AWS, which counts their calls and can take a service away."""

import json
import threading
import urllib.error
import urllib.request
from collections import Counter
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Proxy:
    """`with Proxy(url) as proxy`: what is sent to proxy.endpoint_url goes to `url`, unless its service is `down`.

    `calls` counts what went through, and `refused` what did not, by operation: "DynamoDB.UpdateItem".
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.down: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self.endpoint_url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, proxy: Proxy, *args: Any) -> None:
        self.proxy = proxy
        super().__init__(*args)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        service, _, operation = self.headers["X-Amz-Target"].partition(".")
        service = {"DynamoDB_20120810": "DynamoDB", "AmazonSQS": "SQS"}[service]
        if service in self.proxy.down:
            self.proxy.refused[f"{service}.{operation}"] += 1
            refusal = {"__type": "ServiceUnavailable", "message": f"{service} is down"}
            self._answer(503, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(refusal).encode())
            return
        self.proxy.calls[f"{service}.{operation}"] += 1
        # With the Host header as it came: it is part of what the caller signed.
        request = urllib.request.Request(f"{self.proxy.target}{self.path}", body, dict(self.headers), method="POST")  # noqa: S310
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310
                self._answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as answer:
            self._answer(answer.code, dict(answer.headers), answer.read())

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: what happened is in the proxy's counts."""
