"""How an S3 change becomes a refreshed file share. Read the modules in this order.

changes        reads an S3 event: its changes (bucket, key, time, identity)
folders        the folder of a change, and the folders that one RefreshCache call takes
table          the state: one DynamoDB item per key, updated by conditional writes
ignored_keys   the keys whose changes refresh nothing
window         how a change opens or joins its bucket's window
memo           the open windows that a container remembers, so that most changes need no AWS call
request        the window's one request, a delayed SQS message
aggregate      all of these together: what the aggregator does

messages       reads the messages on the action queue: requests, wakes, completion events, failed events, the sweep
refresh        what the refresh function does with a message: close the window, list the shares, fan out
regions        the regions and accounts whose shares are refreshed; one that fails stops no other
file_shares    the file shares that show a bucket, and RefreshCache (Storage Gateway)
access_points  the bucket behind an access point (S3 Control)
writers        the ids of the roles with which gateways write (IAM)
waiting        the folders that wait for a share, under the share's key
turns          the rules by which the shares of a gateway take turns
gateways       each gateway's document in the table, written by these rules
visible        the event Changes Visible (EventBridge)
asking         asks a share for a refresh when it takes its turn
attached       finds attached buckets that no longer report their changes

failures, settings, observability and aws serve all modules: what an error means, environment variables, logs and
metrics, SDK clients.
"""

# The project's version, and the only place to change it; dev/fill_template.py puts it into template.yaml.
__version__ = "1.0.0"
