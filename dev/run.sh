#!/usr/bin/env bash
# Usage: dev/run.sh GROUP MODULE [argument...]
#
# Runs a package of commands/ for a launcher of scripts/, in .venv-GROUP, which it makes first: once, with python3 3.11
# or later. -P: Python takes no module from the user's current directory.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd) group=$1
"$root/dev/setup.sh" "$group"
PYTHONPATH="$root/src:$root" exec "$root/.venv-$group/bin/python" -P -m "${@:2}"
