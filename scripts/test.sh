#!/usr/bin/env bash
# Usage: scripts/test.sh [pytest's arguments]
#
# Sets up what the tests need in this checkout, then runs all of them: the linters, the types, the unit tests, the
# simulation, and the end-to-end tests on a local AWS. With arguments it runs only pytest, with them: scripts/test.sh tests/unit -k window
set -euo pipefail
cd "$(dirname "$0")/.."

main() {
  ./dev/setup.sh
  mkdir -p build
  export PATH="$PWD/.venv/bin:$PATH"
  unset PYTHONDONTWRITEBYTECODE # with it, each of hundreds of processes would compile all modules again
  if [ $# -gt 0 ]; then exec pytest "$@"; fi
  step "ruff" ruff check --quiet .
  step "ruff format" ruff format --check --quiet .
  step "shellcheck" shellcheck -x scripts/*.sh dev/*.sh .ci/run
  # It has a core to itself while the end-to-end tests wait.
  step "mypy --strict" mypy >build/mypy.txt 2>&1 &
  local types=$! failed=0
  if [ ! -d tests/__pycache__ ]; then # once, what each of the five processes would compile and fetch (it tells of errors)
    pytest --collect-only >/dev/null || true
    PYTHONPATH="src:." python -m commands.deploy zip.sh >/dev/null
  fi
  # More than there are cores, because much of the end-to-end tests is waiting. They come first, each process with a
  # local AWS of its own.
  pytest --numprocesses 5 --dist loadfile --no-loadscope-reorder || failed=1
  wait "$types" || failed=1
  cat build/mypy.txt
  return "$failed"
}

step() { # what, command...
  local what="$1" begin=$SECONDS
  shift
  "$@"
  echo "ok: $what ($((SECONDS - begin)) s)"
}

main "$@"
