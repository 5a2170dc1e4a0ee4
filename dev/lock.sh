#!/usr/bin/env bash
# Usage: dev/lock.sh [--upgrade]
#
# Writes requirements.txt and requirements/, the lock files of pyproject.toml's dependency groups: every package with its
# version and its hashes, for Python 3.11 and later on any system. A version stays as long as pyproject.toml allows it;
# with --upgrade each becomes the newest that it allows. Then dev/setup.sh makes the environments again.
set -euo pipefail
cd "$(dirname "$0")/.."

main() {
  ./dev/setup.sh
  lock dev requirements/dev.txt "$@"
  # These groups are in dev: they take its versions.
  lock functions requirements.txt "$@" --constraints requirements/dev.txt
  lock operate requirements/operate.txt "$@" --constraints requirements/dev.txt
  lock plan requirements/plan.txt "$@" --constraints requirements/dev.txt
  lock ministack requirements/ministack.txt "$@"
  lock uv requirements/uv.txt "$@"
}

lock() { # dependency group, file, uv's arguments ...
  local group="$1" file="$2"
  shift 2
  .venv-uv/bin/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
    --no-emit-index-url --no-annotate --custom-compile-command dev/lock.sh \
    --group "$group" --output-file "$file" "$@"
}

main "$@"
