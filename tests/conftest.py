"""What tests of every level share: credentials that are none, a region, and what botocore and moto do once for all."""

import os
from functools import cache

import botocore.session
import moto.core.models  # before event_aggregator: moto answers only for sessions that are made after its import

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

# Each session would read the models of its services again: 0.1 s for each client.
botocore.session.create_loader = cache(botocore.session.create_loader)
# mock_aws would make 1,300 mocks of requests' URLs each time. Only botocore calls AWS, and asks moto by its events.
moto.core.models.RESPONSES_METHODS.clear()
