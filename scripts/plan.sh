#!/usr/bin/env bash
# See --help. Sets up .venv-plan in this checkout first (once; python3 3.11 or later).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
"$root/dev/setup.sh" plan
PYTHONPATH="$root/src:$root" exec "$root/.venv-plan/bin/python" -m commands.plan "$@"
