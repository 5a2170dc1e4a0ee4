"""Programs for scripts under test that run in the process of the tests, because to start a Python for each call of one
takes longer than all else: `aws` is what a test says, and `python3` has loaded scripts/stack_files.py already.
"""

import contextlib
import io
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scripts import stack_files

# Hands the arguments to the server, a standard input among them as its content, and prints what that gives back.
CLIENT = r"""#!/bin/bash
program=${0##*/} input=""
if [[ $program == python3 ]]; then
  if [[ "$1 $2 ${3:-}" != "-P -m stack_files" ]]; then exec "{python}" -S "$@"; fi
  shift 3
  if [[ " $* " == *" /dev/stdin "* ]]; then
    input=$(mktemp)
    cat >"$input"
  fi
fi
exec 3<>/dev/tcp/127.0.0.1/{port}
printf '%s\x1f' "$program" "${AWS_RETRY_MODE:-} ${AWS_MAX_ATTEMPTS:-}" "${@/#\/dev\/stdin/$input}" $'\x1e' >&3
read -r status <&3 || exit
[[ -z $input ]] || rm "$input"
case $status in
0) exec cat <&3 ;;
kill) kill -KILL 0 ;;
esac
cat <&3 >&2
exit 1
"""


class KillScript(BaseException):
    """Raised by an `aws`: the script that has called it is killed, with all that it has started."""


class Programs(socketserver.TCPServer):
    """Gives a script's calls of `aws` to the test that runs it: the retries asked for, and the arguments; back comes
    what is printed. Raises ValueError with the message of a call that fails, and KillScript.
    """

    aws: Callable[[str, list[str]], str]

    def install(self, folder: Path) -> None:
        """Makes the programs there."""
        folder.mkdir()
        client = CLIENT.replace("{python}", sys.executable).replace("{port}", str(self.server_address[1]))
        for name, text in {"aws": client, "python3": client, "sleep": "#!/bin/sh\n"}.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    def run(self, program: str, retries: str, *arguments: str) -> str:
        if program == "aws":
            return self.aws(retries, list(arguments))
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            stack_files.main(*arguments)
        return printed.getvalue()


class _Handler(socketserver.StreamRequestHandler):
    server: Programs

    def handle(self) -> None:
        asked = b""
        while not asked.endswith(b"\x1e\x1f"):
            part = self.request.recv(65536)
            if not part:
                return  # the script was killed
            asked += part
        words = asked.decode().split("\x1f")[:-2]
        try:
            answer = f"0\n{self.server.run(*words)}"
        except ValueError as error:
            answer = f"1\n{error}\n"
        except KillScript:
            answer = "kill\n"
        self.wfile.write(answer.encode())


@contextmanager
def running_programs() -> Iterator[Programs]:
    with Programs(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def operation_of(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The operation that a call of `aws` asks for, with its service, and what follows it."""
    words = list(arguments)
    while words[0] in {"--region", "--output", "--endpoint-url"}:
        del words[:2]
    return " ".join(words[:2]), words[2:]
