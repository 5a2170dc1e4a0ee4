"""From an S3 change to a refreshed file share. The modules in the order of an event:

changes        reads the changes of an S3 event (bucket, key, time, identity)
folders        the folder that a change changes, and the folders of one RefreshCache call
table          the state: one DynamoDB item per key, changed by conditional writes
ignored_keys   the keys whose changes are ignored
window         opens, joins and closes the window of a bucket
memo           the open windows that this container has seen, so that most changes need no AWS call
request        the action queue (SQS): the window's one delayed request
aggregate      what the aggregator does with an event

messages       reads the messages on the action queue: requests, wakes, completion events, failed events, the sweep
refresh        what the refresh function does with a message: close the window, list the shares, fan out
regions        the regions and accounts whose shares are refreshed; one that fails stops no other
file_shares    the file shares that show a bucket, and RefreshCache (Storage Gateway)
access_points  the bucket behind an access point (S3 Control)
writers        the ids of the roles by which gateways write (IAM)
waiting        the folders that wait for a share, under the share's key
turns          the rules by which the shares of a gateway take turns
gateways       each gateway's document in the table, written by these rules
visible        the event Changes Visible (EventBridge)
asking         asks a share for a refresh when it takes its turn
attached       finds attached buckets that no longer report their changes

failures, settings, observability and aws serve all modules: what an error means, environment variables, logs and
metrics, SDK clients.
"""
