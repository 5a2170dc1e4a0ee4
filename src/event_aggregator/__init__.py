"""How an S3 change becomes a refreshed file share; read the modules in this order.

changes        an S3 event becomes changes (bucket, key, time, identity)
folders        a change changes a folder; which folders one refresh of a share takes
table          the state: one DynamoDB item for each key, changed by conditional writes
window         a change opens or joins its bucket's refresh window
memo           an open window that this container has seen, so that most changes need no call at all
request        the window's one request, delayed (SQS)
aggregate      the three together: what the aggregator Lambda does
access_points  the bucket behind an access point (S3 Control)
file_shares    the file shares that show a bucket, and RefreshCache (Storage Gateway)
writers        through which share a gateway wrote, as far as it can be told (IAM)
places         the regions whose shares are refreshed, each failing on its own
messages       what else arrives on the queue: completions, failed events, the time to sweep
pace           how often a share is asked, and whether its last refresh is complete
refresh        what the refresh Lambda does with a request: close, refresh, complete, or wait

settings, observability and aws serve all of them: environment variables, logs and metrics, SDK clients.
"""
