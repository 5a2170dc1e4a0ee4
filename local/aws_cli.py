"""The AWS CLI for the scripts on this machine, started once: its imports are most of the half second that a call takes.

Each call of `aws` is a fork of a process that has imported the CLI already: the same program, with the caller's
arguments, environment, folder and streams.
"""

import json
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

ROOT = Path(__file__).parents[1]

# In the place of `aws`: hands all that it was given to the server, and ends as the call ends.
CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    call = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]).encode()
    socket.send_fds(server, [len(call).to_bytes(4, "big")], [0, 1, 2])
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
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, pass_fds=[server.fileno()])
    try:
        yield folder
    finally:
        process.communicate()  # the end of its standard input is its end, also if this process is killed


def serve(server: socket.socket) -> None:
    for module in ("awscli.handlers", "awscli.clidriver"):
        import_module(module)
    main: Callable[[], int] = sys.modules["awscli.clidriver"].main

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the calls but their clients
    while 0 not in select.select([server.fileno(), 0], [], [])[0]:
        connection, _ = server.accept()
        if os.fork() == 0:
            os._exit(_call(connection, main))
        connection.close()


def _call(connection: socket.socket, main: Callable[[], int]) -> int:
    head, streams, _, _ = socket.recv_fds(connection, 4, 3)
    length = int.from_bytes(head, "big")
    call = b""
    while len(call) < length:
        call += connection.recv(length - len(call))
    arguments, environment, folder = json.loads(call)
    for stream, target in zip(streams, (0, 1, 2), strict=True):
        os.dup2(stream, target)
    os.chdir(folder)
    data = os.environ["AWS_DATA_PATH"]  # set by the import
    os.environ.clear()
    os.environ.update({**environment, "AWS_DATA_PATH": data})
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
