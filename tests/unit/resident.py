"""A python3 for scripts under test that has loaded scripts/stack_files.py already: create-stack.sh asks it 40 times."""

import contextlib
import io
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from scripts import stack_files

# Hands the arguments to the server, a standard input among them as its content, and gives back what is printed.
CLIENT = r"""#!/bin/bash
case $1 in */stack_files.py) shift ;; *) exec "{python}" -S "$@" ;; esac
exec 3<>/dev/tcp/127.0.0.1/{port}
input=""
for word in "$@"; do
  if [[ $word == /dev/stdin ]]; then
    input=$(mktemp)
    cat >"$input"
    word=$input
  fi
  printf '%s\x1f' "$word" >&3
done
printf '\x1e' >&3
read -r status <&3
if ((status)); then cat <&3 >&2; else cat <&3; fi
[[ -z $input ]] || rm "$input"
exit "$status"
"""


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        asked = b""
        while not asked.endswith(b"\x1e"):
            part = self.request.recv(65536)
            if not part:
                return  # the script was killed
            asked += part
        arguments = asked.decode()[:-1].split("\x1f")[:-1]
        printed, status = io.StringIO(), 0
        try:
            with contextlib.redirect_stdout(printed):
                stack_files.main(*arguments)
        except ValueError as error:
            printed, status = io.StringIO(f"{error}\n"), 1
        self.wfile.write(f"{status}\n{printed.getvalue()}".encode())


@contextmanager
def resident_python() -> Iterator[str]:
    """The text of a program to be put on a PATH as python3, as long as this is open."""
    with socketserver.TCPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield CLIENT.replace("{python}", sys.executable).replace("{port}", str(server.server_address[1]))
        server.shutdown()
