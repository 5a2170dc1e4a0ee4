#!/usr/bin/env bash
# Usage: scripts/test.sh [pytest's arguments]
#
# Sets up what the tests need in this checkout, then runs all of them: the linters, the types, the unit tests, the
# simulation, and the end-to-end tests on a local AWS. With arguments it runs only pytest, with them, as in
# scripts/test.sh tests/unit -k window
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
  # Side by side, because the end-to-end tests mostly wait, in more processes than cores, each with a local AWS.
  trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
  step "mypy --strict" mypy >build/mypy.txt 2>&1 &
  local types=$! failed=0
  if [ ! -d tests/__pycache__ ]; then
    # Once, what each of the processes below would compile and fetch. They tell of errors.
    pytest --collect-only >/dev/null || true
    PYTHONPATH="src:." python -m commands.deploy zip.sh >/dev/null
  fi
  step "end-to-end tests" pytest tests/e2e --numprocesses 6 --dist loadfile >build/e2e.txt 2>&1 &
  local e2e=$!
  step "simulation and unit tests" pytest tests/simulation tests/unit --numprocesses 2 --dist loadfile \
    --no-loadscope-reorder || failed=1
  wait "$e2e" || failed=1
  wait "$types" || failed=1
  cat build/e2e.txt build/mypy.txt
  return "$failed"
}

step() { # what, command...
  local what="$1" begin=$SECONDS
  shift
  "$@" && echo "ok: $what ($((SECONDS - begin)) s)"
}

main "$@"
