"""Tables in Markdown, numbers as people read them, and the machine that they come from."""

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from textwrap import fill


def wrapped(text: str) -> str:
    """The same Markdown with its paragraphs filled to 120 characters; tables, titles and pictures as they are."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        part if part.startswith(("|", "#", "!")) else fill(part, 120, break_long_words=False, break_on_hyphens=False)
        for part in paragraphs
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float, digits: int = 0) -> str:
    return f"{value:,.{digits}f}"


def dollars(value: float) -> str:
    """US dollars, to the cent or, below ten cents, to a hundredth of one."""
    return f"${value:,.2f}" if value >= 0.1 else f"${value:.4f}"


def ratio(value: float) -> str:
    return f"{value:.2f}"


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def machine() -> str:
    """The processor and Python; nothing that names the machine."""
    return f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()
