"""What the commands write, and how.

The guarantee: what comes from outside, such as a key, a tag or a gateway's words, writes no lines of its own, moves no
cursor, sets no colour and reorders no text. Every line goes through `escaped`; nothing else in operate/ prints.
"""

import argparse
import json
import shlex
import sys
from typing import Any, NoReturn, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text


def escaped(text: str) -> str:
    r"""The text on one line, each character that does not print as Python writes it: \n, \x1b, \u202e. That is every
    control, format (those of direction too) and private character, every space but the usual one, and halves of pairs.
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def quoted(word: str) -> str:
    """A word of a command line that can be pasted into a shell, whatever is in it; `escaped` leaves it alone."""
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{''.join(map(_in_ansi_c_quotes, word))}'"


def _in_ansi_c_quotes(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    # The oldest bash that is in use, that of macOS, knows bytes only.
    return char if char.isprintable() else "".join(f"\\x{byte:02x}" for byte in char.encode(errors="surrogatepass"))


def one_line(text: str, style: str = "") -> Text:
    """A line of a screen."""
    return Text(escaped(text), style=style)


def add_row(table: Table, *cells: str | Text) -> None:
    table.add_row(*(cell if isinstance(cell, Text) else one_line(cell) for cell in cells))


def console(*, wraps: bool) -> Console:
    """For screens, which are made of `one_line`s."""
    return Console(markup=False, emoji=False, highlight=False, soft_wrap=not wraps)


def tell(text: object, to: TextIO | None = None) -> None:
    """Print a line."""
    print(escaped(str(text)), file=to or sys.stdout, flush=True)


def tell_program(value: Any) -> None:
    """Print JSON, in which everything but printable ASCII is escaped."""
    print(json.dumps(value, indent=2))


def utf8(argument: str) -> str:
    """For argparse: AWS takes no other text."""
    argument.encode()
    return argument


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments, which it quotes, in one line."""

    def error(self, message: str) -> NoReturn:
        super().error(escaped(message))
