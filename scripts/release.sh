#!/usr/bin/env bash
# Usage: scripts/release.sh
#
# Builds what a release consists of into dist/: the zip of the functions, the template, the Terraform module, a bill of
# materials in CycloneDX's format, the licenses, and their SHA-256 sums. Two runs on one commit give the same bytes.
# How a release is made is in CONTRIBUTING.md.
set -euo pipefail
cd "$(dirname "$0")/.."
./dev/setup.sh
PYTHONPATH="src:." exec .venv/bin/python -m dev.release
