"""A proxy between the functions and the local AWS: it counts calls, takes a service away, and makes calls fail."""

import itertools
import json
import random
import subprocess
import threading
import urllib.error
import urllib.request
from collections import Counter
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Proxy:
    """`with Proxy(url) as proxy`: what is sent to proxy.endpoint_url goes to `url`, unless its service is `down`.

    `calls` counts what went through, and `refused` what did not, by operation: "DynamoDB.UpdateItem". After `fail`
    many calls are throttled, answered by an error of the server's, or lose their connection before or after they took
    effect; and as many SQS messages are sent twice. With `throttle_every` every so manieth call is throttled, whatever
    its service, in the words of that service.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.down: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.fault_rate = 0.0
        self.throttle_every = 0
        self.asked = itertools.count(1)
        self.made = itertools.count(1)
        self.kills: tuple[int, subprocess.Popen[Any] | None] = (0, None)
        self.chance = random.Random(0)  # noqa: S311
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self.endpoint_url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, rate: float, seed: int) -> None:
        """From now on, have this share of the calls fail; 0: none."""
        self.fault_rate, self.chance = rate, random.Random(seed)  # noqa: S311

    def kill_after(self, calls: int, process: "subprocess.Popen[Any]") -> None:
        """Kills the process, which makes the calls, when so many were made, before it hears the last answer."""
        self.kills = (calls, process)

    def count(self) -> None:
        """A call was made."""
        calls, process = self.kills
        if process and next(self.made) == calls:
            process.kill()

    def fault(self) -> str:
        """What befalls the next call, or nothing."""
        if self.throttle_every and next(self.asked) % self.throttle_every == 0:
            return "throttled"
        if self.chance.random() >= self.fault_rate:
            return ""
        return self.chance.choice(("throttled", "error", "lost before", "lost after", "twice"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, proxy: Proxy, *args: Any) -> None:
        self.proxy = proxy
        super().__init__(*args)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        target, _, operation = (
            self.headers["X-Amz-Target"].partition(".") if "X-Amz-Target" in self.headers else ("",) * 3
        )
        signed_for = self.headers["Authorization"].split("/")[3]
        service = {"DynamoDB_20120810": "DynamoDB", "AmazonSQS": "SQS"}.get(target, signed_for)
        fault = self.proxy.fault()
        if service in self.proxy.down or fault in ("throttled", "error", "lost before"):
            self.proxy.refused[f"{service}.{operation}"] += 1
            if fault == "lost before":
                self.close_connection = True
            elif fault == "throttled":
                self._throttle(signed_for)
            else:
                self._refuse(503, "ServiceUnavailable")
            return
        self.proxy.calls[f"{service}.{operation}"] += 1
        if fault == "twice" and operation == "SendMessage":
            self._forward(body)
        status, headers, answer = self._forward(body)
        self.proxy.count()
        if fault == "lost after":
            self.close_connection = True
        else:
            self._answer(status, headers, answer)

    do_GET = do_PUT = do_DELETE = do_HEAD = do_POST  # noqa: N815 - the library's names

    def _throttle(self, service: str) -> None:
        """As the service says it: in XML, by a header, or in JSON."""
        match service:
            case "s3":
                self._answer(503, {}, b"<Error><Code>SlowDown</Code><Message>Please reduce your rate</Message></Error>")
            case "iam" | "sts" | "cloudformation":
                error = b"<Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error>"
                self._answer(400, {}, b"<ErrorResponse>" + error + b"</ErrorResponse>")
            case "lambda":
                self._answer(429, {"x-amzn-ErrorType": "TooManyRequestsException"}, b'{"message": "Rate exceeded"}')
            case _:
                self._refuse(400, "ThrottlingException")

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        # With the Host header as it came: it is part of what the caller signed.
        url, headers = f"{self.proxy.target}{self.path}", dict(self.headers)
        request = urllib.request.Request(url, body, headers, method=self.command)  # noqa: S310
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as answer:
            return answer.code, dict(answer.headers), answer.read()

    def _refuse(self, status: int, code: str) -> None:
        refusal = {"__type": code, "message": "an outage that a test makes"}
        self._answer(status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(refusal).encode())

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
