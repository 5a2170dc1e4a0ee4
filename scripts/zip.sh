#!/usr/bin/env bash
# Usage: scripts/zip.sh
#
# Makes build/s3-event-aggregator.zip, the code of both functions, for template.yaml. create-stack.sh does so itself.
# Needs python3 (3.11 or later) with pip.

# shellcheck source=scripts/stack.sh
. "$(dirname "$0")/stack.sh"

if [[ $# -gt 0 ]]; then usage && exit; fi
check_python
make_zip
echo "$zip"
