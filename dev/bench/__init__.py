"""What an S3 event, a refresh window and a refresh cost: dev/bench.sh runs it, and writes docs/performance.md.

world        a simulated account: moto's table and queue, a file share, a clock, and a meter for what AWS charges for
systems      what runs in it: this project's two functions, or the plain baseline
events       what an absorbed event costs, and a window of many
cold_start   how long the aggregator takes to start, against boto3 alone
scope        what a refresh makes the gateway do, over the bucket's size
turns        how long the shares of one gateway wait, against perfect turns
traffic      how many refreshes there are, against the fewest possible
money        all of it in US dollars
document     all of it as Markdown, with report's tables and charts' two curves

Timings are for reading, never for a test: they are the machine's. Counts are the same everywhere.
"""

import moto  # noqa: F401 - it answers only for sessions that are made after its import, and event_aggregator makes one
