"""Makes the zip of the functions' code: scripts/make_zip.py TARGET FOLDER... prints its hash as Lambda gives it.

Standard library only, because it runs before anything is installed.
"""

import base64
import hashlib
import importlib.util
import io
import marshal
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

# The Lambda runtime's version: code that this interpreter compiles is valid there only if it is of the same one.
RUNTIME = (3, 13)


def build_zip(folders: Sequence[Path], interpreter: tuple[int, int]) -> bytes:
    """A zip of the folders' files, the same to the byte for the same files: so its hash tells whether the code differs.

    If the interpreter is the runtime's, compiled code goes in as well: /var/task is read-only, so every cold start
    would compile again. It is of the kind that is used without a look at its source, whose time a zip does not keep.
    """
    members: dict[str, bytes] = {}
    for folder in folders:
        for path in folder.rglob("*"):
            name = path.relative_to(folder)
            if path.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in name.parts):
                members[name.as_posix()] = path.read_bytes()
    if interpreter == RUNTIME:
        members |= {_compiled_name(name): _compiled(name, members[name]) for name in members if name.endswith(".py")}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, content in sorted(members.items()):
            info = zipfile.ZipInfo(member)  # of 1980, whenever the file was written
            info.create_system = 3  # Unix, whose modes these are
            info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


def _compiled_name(name: str) -> str:
    path = Path(name)
    return f"{path.parent}/__pycache__/{path.stem}.cpython-{RUNTIME[0]}{RUNTIME[1]}.pyc".removeprefix("./")


def _compiled(name: str, source: bytes) -> bytes:
    """A hash-based pyc, unchecked (PEP 552): magic number, flags 0b01, hash, code."""
    code = compile(source, f"/var/task/{name}", "exec", dont_inherit=True, optimize=0)
    flags = (0b01).to_bytes(4, "little")
    return importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source) + marshal.dumps(code)


if __name__ == "__main__":
    target, *folders = map(Path, sys.argv[1:])
    content = build_zip(folders, sys.version_info[:2])
    target.write_bytes(content)
    print(base64.b64encode(hashlib.sha256(content).digest()).decode())
