"""The zip of the functions' code."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts import make_zip


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "src"
    (source / "package/__pycache__").mkdir(parents=True)
    (source / "package/__pycache__/room.cpython-311.pyc").write_bytes(b"stale")
    (source / "package/room.py").write_text("X = 1\n")
    (source / "handler.py").write_text("from package import room\n")
    (source / ".DS_Store").write_text("")
    return source


def names(content: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(content)).namelist()


def test_the_zip_holds_the_sources_alone_when_the_interpreter_is_not_the_runtimes(source: Path) -> None:
    assert names(make_zip.build_zip([source], (3, 11))) == ["handler.py", "package/room.py"]


def test_the_zip_is_the_same_to_the_byte_for_the_same_files(source: Path) -> None:
    before = make_zip.build_zip([source], (3, 11))

    (source / "handler.py").touch()
    (source / "handler.py").chmod(0o600)

    assert make_zip.build_zip([source], (3, 11)) == before


def test_the_zip_differs_when_a_file_does(source: Path) -> None:
    before = make_zip.build_zip([source], (3, 11))

    (source / "handler.py").write_text("pass\n")

    assert make_zip.build_zip([source], (3, 11)) != before


def test_compiled_code_is_imported_without_a_look_at_the_source(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_zip, "RUNTIME", sys.version_info[:2])
    (tmp_path / "zip").write_bytes(make_zip.build_zip([source], sys.version_info[:2]))
    zipfile.ZipFile(tmp_path / "zip").extractall(tmp_path / "task")
    (tmp_path / "task/package/room.py").write_text("X = 2\n")

    command = "from package import room; print(room.X)"
    result = subprocess.run(
        [sys.executable, "-c", command], cwd=tmp_path / "task", capture_output=True, text=True, check=True
    )

    assert result.stdout == "1\n"
