"""How an S3 change becomes a refreshed file share; read the modules in this order.

changes        an S3 event becomes changes (bucket, key, time, identity)
folders        a change changes a folder; which folders one refresh of a share takes
table          the state: one DynamoDB item for each key, changed by conditional writes
ignored_keys   which changes are of keys that nobody wants to see
window         a change opens or joins its bucket's refresh window
memo           an open window that this container has seen, so that most changes need no call at all
request        the window's one request, delayed (SQS)
aggregate      the three together: what the aggregator Lambda does

messages       what else arrives on the queue: wakes, completions, failed events, the time to sweep
refresh        what the refresh Lambda does with a request: close the window, list the shares, hand the folders over
regions         the regions and accounts whose shares are refreshed, each failing on its own
file_shares    the file shares that show a bucket, and RefreshCache (Storage Gateway)
access_points  the bucket behind an access point (S3 Control)
writers        the ids of the roles by which gateways write (IAM)
waiting        the folders that wait for a share, under the share's own key
turns          whose turn it is at a gateway, and when: the rules, and nothing else
gateways       each gateway's document in the table, written as the rules say
visible        the event that tells others that a share shows what changed (EventBridge)
asking         how a share is asked when it is its turn
attached       the buckets that should tell of their changes, and whether they do

failures, settings, observability and aws serve all of them: what an error means, environment variables, logs and
metrics, SDK clients.
"""
