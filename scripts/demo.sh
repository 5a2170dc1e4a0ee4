#!/usr/bin/env bash
# Usage: scripts/demo.sh
#
# Shows the whole thing on this machine, without an AWS account: starts a local AWS and a simulated File Gateway on
# loopback, deploys with create-stack.sh, uploads and deletes objects, shows live how the file share follows, and
# removes everything with delete-stack.sh. Sets up what it needs in this checkout first. Ctrl-C stops all of it.
set -euo pipefail
cd "$(dirname "$0")/.."
./dev/setup.sh
PYTHONPATH="src:." exec .venv/bin/python -m dev.local.demo
