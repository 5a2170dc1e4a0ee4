#!/usr/bin/env bash
# Usage: dev/bench.sh [--quick]
#
# Measures what an S3 event, a refresh window and a refresh cost, beside plain baselines, and how long shares wait for
# their turn, without an AWS account: prints the results, and writes them with charts to docs/performance.md. Takes four
# to five minutes; --quick takes one, with fewer events and repetitions, and writes nothing. Sets up what it needs in
# this checkout first.
set -euo pipefail
cd "$(dirname "$0")/.."
./dev/setup.sh
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL AWS_ENDPOINT_URL_DYNAMODB AWS_ENDPOINT_URL_SQS
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
export POWERTOOLS_SERVICE_NAME=S3EventAggregator POWERTOOLS_METRICS_NAMESPACE=S3EventAggregator
PYTHONPATH="src:." exec .venv/bin/python -m dev.bench "$@"
