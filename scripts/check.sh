#!/usr/bin/env bash
# See --help. Sets up .venv-operate in this checkout first (once; python3 3.11 or later).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
"$root/dev/setup.sh" operate
PYTHONPATH="$root/src:$root" exec "$root/.venv-operate/bin/python" -m commands.operate "$(basename "$0")" "$@"
