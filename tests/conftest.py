"""What tests of every level share: credentials that are none, and a region."""

import os

import moto  # noqa: F401 - before event_aggregator: moto answers only for sessions that are made after its import

# Before anything makes a client: no profile, no real credentials, no instance metadata.
os.environ |= {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "POWERTOOLS_METRICS_NAMESPACE": "S3EventAggregator",
    "POWERTOOLS_SERVICE_NAME": "test",
}
for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
    os.environ.pop(name, None)
