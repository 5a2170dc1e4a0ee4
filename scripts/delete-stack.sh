#!/usr/bin/env bash
# See --help.
exec "$(dirname "$0")/../dev/run.sh" operate commands.deploy "$(basename "$0")" "$@"
