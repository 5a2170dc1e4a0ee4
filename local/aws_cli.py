"""The AWS CLI for the scripts on this machine, started once: most of the half second that a call takes is its imports,
the reading of what botocore knows of the services, and the making of the program's own parts.

Each call of `aws` is a fork of a process that has done this already: the same program, with the caller's arguments,
environment, folder and streams. Only the configuration is not the caller's: there is none.
"""

import gc
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from botocore.loaders import JSONFileLoader, Loader

ROOT = Path(__file__).parents[1]

# Those that the scripts call.
SERVICES = (
    *("cloudwatch", "dynamodb", "events", "iam", "lambda", "logs", "s3", "sqs", "storagegateway", "sts"),
    "cloudformation",
)

# In the place of `aws`: hands all that it was given to the server, and ends as the call ends. Without what takes Python
# longer to import than all of this: os, json, socket.
CLIENT = """#!{python} -IS
import array, posix, sys
from _socket import AF_UNIX, SCM_RIGHTS, SOL_SOCKET, socket
server = socket(AF_UNIX)
server.connect({address!r})
arguments = [word.encode(errors="surrogateescape") for word in sys.argv[1:]]
environment = [name + b"=" + value for name, value in posix.environ.items()]
call = b"\\0".join([posix.getcwdb(), b"%d" % len(arguments), *arguments, *environment])
server.sendmsg([len(call).to_bytes(4, "big")], [(SOL_SOCKET, SCM_RIGHTS, array.array("i", [0, 1, 2]))])
server.sendall(call)
status = server.recv(1)
sys.exit(status[0] if status else 255)
"""


@contextmanager
def aws_cli(home: Path) -> Iterator[Path]:
    """A folder with an `aws` for the PATH, as long as this is open; `home` is an empty folder for its socket."""
    folder, address = home / "bin", home / "aws-cli"
    folder.mkdir()
    client = folder / "aws"
    client.write_text(CLIENT.format(python=sys.executable, address=str(address)))
    client.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(address))
        server.listen(64)  # who calls before the imports are done waits
        command = [sys.executable, "-m", "local.aws_cli", str(server.fileno())]
        process = subprocess.Popen(
            command, cwd=ROOT, env={"HOME": str(home)}, stdin=subprocess.PIPE, pass_fds=[server.fileno()]
        )
    try:
        yield folder
    finally:
        process.communicate()  # the end of its standard input is its end, also if this process is killed


def serve(server: socket.socket) -> None:
    for module in ("awscli.handlers", "awscli.clidriver"):
        import_module(module)
    _read_ahead()
    main: Callable[[], int] = sys.modules["awscli.clidriver"].create_clidriver().main
    gc.freeze()

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the calls but their clients
    while 0 not in select.select([server.fileno(), 0], [], [])[0]:
        connection, _ = server.accept()
        if os.fork() == 0:
            os._exit(_call(connection, main))
        connection.close()


def _read_ahead() -> None:
    """Has every loader of botocore's find the models of these services read, and those of others as before."""
    read, services_of, loader = JSONFileLoader.load_file, Loader.list_available_services, Loader()
    files: dict[str, Any] = {}
    services: dict[str, list[str]] = {}

    def load_file(self: JSONFileLoader, path: str) -> Any:
        if path not in files:
            files[path] = read(self, path)
        return files[path]

    def list_available_services(self: Loader, type_name: str) -> list[str]:
        if type_name not in services:
            services[type_name] = services_of(self, type_name)
        return services[type_name]

    patch.object(JSONFileLoader, "load_file", load_file).start()
    patch.object(Loader, "list_available_services", list_available_services).start()
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)
    for kind in ("service-2", "paginators-1", "waiters-2", "endpoint-rule-set-1"):
        for service in SERVICES:
            if service in loader.list_available_services(kind):
                loader.load_data(f"{service}/{loader.determine_latest_version(service, kind)}/{kind}")


def _call(connection: socket.socket, main: Callable[[], int]) -> int:
    head, streams, _, _ = socket.recv_fds(connection, 4, 3)
    length = int.from_bytes(head, "big")
    call = b""
    while len(call) < length:
        call += connection.recv(length - len(call))
    folder, count, *words = call.decode(errors="surrogateescape").split("\0")
    arguments, variables = words[: int(count)], words[int(count) :]
    for stream, target in zip(streams, (0, 1, 2), strict=True):
        os.dup2(stream, target)
    os.chdir(folder)
    data = os.environ["AWS_DATA_PATH"]  # set by the import
    os.environ.clear()
    os.environ.update({**dict(variable.split("=", 1) for variable in variables), "AWS_DATA_PATH": data})
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sys.argv = ["aws", *arguments]
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    try:
        status = main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(bytes([status or 0]))
    return 0


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
