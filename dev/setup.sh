#!/usr/bin/env bash
# Usage: dev/setup.sh [operate|plan]
#
# Makes the virtual environments that demo.sh and test.sh need, in this checkout, and makes them again when
# pyproject.toml changes: .venv with the tools, .venv-ministack with the local AWS, apart, because the functions that
# the local AWS runs see its packages. Does nothing when both are there. With `operate` it makes .venv-operate alone,
# for the operator's commands; with `plan`, .venv-plan for plan.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

main() {
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "This needs python3 3.11 or later on the PATH; found: $(python3 --version 2>&1 || true)" >&2
    exit 1
  }
  # Not that of a virtual environment, which may be the one that is made again.
  base_python=$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')
  if [ $# -gt 0 ]; then
    make_venv ".venv-$1" "$1" >&2
    return
  fi
  make_venv .venv dev &
  make_venv .venv-ministack ministack
  wait $!
}

make_venv() { # folder, dependency group of pyproject.toml
  local stamp="$1/made-from.toml"
  if cmp -s pyproject.toml "$stamp"; then return; fi
  echo "Setting up $1 (once, about a minute) ..."
  rm -rf "$1"
  "$base_python" -m venv "$1"
  "$1/bin/python" -m pip install --quiet --upgrade "pip>=25.1"  # --group came with 25.1
  "$1/bin/python" -m pip install --quiet --group "$2"
  cp pyproject.toml "$stamp"
}

main "$@"
