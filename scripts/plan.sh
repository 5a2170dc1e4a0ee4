#!/usr/bin/env bash
# See --help.
exec "$(dirname "$0")/../dev/run.sh" plan commands.plan "$@"
