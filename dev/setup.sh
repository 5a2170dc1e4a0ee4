#!/usr/bin/env bash
# Usage: dev/setup.sh [operate|plan]
#
# Makes the virtual environments that demo.sh and test.sh need, in this checkout: .venv with the tools, .venv-ministack
# with the local AWS, apart, because the functions that the local AWS runs see its packages. With `operate` it makes
# .venv-operate alone, for the operator's commands; with `plan`, .venv-plan for plan.sh. Each holds exactly what its lock
# file in requirements/ names, and is made again when that changes; else this does nothing. .venv-uv holds uv, which
# makes the others.
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
  make_uv
  make_venv .venv dev
  make_venv .venv-ministack ministack --compile-bytecode # for those that the tests start at the same time
}

make_venv() { # folder, name of its lock file, flags for uv
  local lock="requirements/$2.txt" stamp="$1/made-from.txt"
  if cmp -s "$lock" "$stamp"; then return; fi
  echo "Setting up $1 (once, less than a minute) ..."
  make_uv
  rm -rf "$1"
  .venv-uv/bin/uv venv --quiet --no-project --python "$base_python" "$1"
  # uv is several times as fast as pip, but does not read pip's configuration: if it reaches no package index, pip may.
  if ! .venv-uv/bin/uv pip install --quiet --system-certs --python "$1/bin/python" --require-hashes --requirement "$lock" \
    "${@:3}" 2>"$1/uv.log"; then
    echo "uv could not install $lock ($1/uv.log says why). pip does it, which takes a few minutes ..."
    .venv-uv/bin/python -m pip --python "$1/bin/python" install --quiet --disable-pip-version-check --require-hashes \
      --requirement "$lock"
  fi
  cp "$lock" "$stamp"
}

make_uv() {
  local lock=requirements/uv.txt made=".venv-uv.$$"
  if cmp -s "$lock" .venv-uv/made-from.txt; then return; fi
  "$base_python" -m venv "$made"
  "$made/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
    --requirement "$lock"
  cp "$lock" "$made/made-from.txt"
  # Another run may have made it meanwhile, and be using it.
  if cmp -s "$lock" .venv-uv/made-from.txt; then rm -rf "$made"; else rm -rf .venv-uv && mv "$made" .venv-uv; fi
}

main "$@"
