"""docs/commands.md, made of the commands' own help (docs/architecture.md says how)."""

import argparse

from commands.operate.__main__ import parser

_HEAD = """# The operator's commands

Each command works on one stack, which `--region` and `--name-prefix` select, with your own AWS credentials. In keys,
folders and other text from outside, characters that do not print are shown as `\\n`, `\\x1b`, `\\u202e`.
This page is generated from their `--help`.
"""


def document() -> str:
    [commands] = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    parts = [f"## {name}\n\n```\n{command.format_help()}```\n" for name, command in commands.choices.items()]
    return "\n".join([_HEAD, *parts])


if __name__ == "__main__":
    print(document(), end="")
