"""The main job, live: objects are written to a bucket, and a stale file share of it becomes up to date by itself.

What it shows is read from the running system: the table, the queue, the calls that the simulated gateway got, and the
share's listing as its clients see it.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from dev.local.completions import to_rule_targets
from dev.local.gateway import FileShare, StorageGateway
from dev.local.ministack import ROOT, MiniStack, StartError, ministack
from dev.local.timeline import Sample, draw
from event_aggregator.table import WindowItem

BUCKET, TABLE, QUEUE = "demo-bucket", "S3EventAggregator", "S3EventAggregatorActionQueue"
QUIET_SECONDS, INTERVAL_SECONDS = 3, 5
PICTURE = ROOT / "build" / "demo-timeline.png"
STEP_SECONDS = 0.1
PATIENCE_SECONDS = 60

console = Console(highlight=False)


@dataclass(frozen=True)
class Stage:
    """What changes of one kind caused; seconds from the first and from the last of them until all were visible."""

    name: str
    changes: int
    windows: int
    requests: int
    refreshes: int
    after_first: float
    after_last: float


@dataclass
class Demo:
    """The system under the eyes of the demo, and what was seen of it so far."""

    aws: MiniStack
    gateway: StorageGateway
    share: FileShare
    samples: list[Sample] = field(default_factory=list)
    changed_at: list[float] = field(default_factory=list)  # when S3 had finished each upload and deletion

    def sample(self) -> Sample:
        """How everything stands now."""
        s3, dynamodb, sqs = (self.aws.client(service) for service in ("s3", "dynamodb", "sqs"))
        keys = {found["Key"] for found in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])}
        row = dynamodb.get_item(TableName=TABLE, Key={"BucketName": {"S": BUCKET}}, ConsistentRead=True)
        counts = sqs.get_queue_attributes(
            QueueUrl=sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"],
            AttributeNames=["ApproximateNumberOfMessagesDelayed"],
        )["Attributes"]
        item = WindowItem.of(row.get("Item", {}))
        files = self.share.tree()
        queued = int(counts["ApproximateNumberOfMessagesDelayed"])  # requests and wakes; completion events are not
        self.samples.append(Sample(time.time(), keys, files, item.window_id, item.refresh_at / 1000, queued))
        return self.samples[-1]

    @property
    def windows(self) -> int:
        return len({sample.window_id for sample in self.samples} - {None})

    @property
    def requests(self) -> int:
        """How many requests, and wakes of the gateway, came to the queue.

        Each is delayed for a second at least, so that no sample misses one.
        """
        counts = [0, *(sample.queued for sample in self.samples)]
        return sum(max(0, later - earlier) for earlier, later in pairwise(counts))

    @property
    def refreshes(self) -> int:
        return sum(call.operation == "RefreshCache" for call in self.gateway.calls)

    def follow(self, name: str, change: Callable[[], None]) -> Stage:
        """Make changes, and show how things stand until the share shows them all."""
        changes, before = len(self.changed_at), (self.windows, self.requests, self.refreshes)
        self.sample()  # the picture begins before the first change
        background = threading.Thread(target=change, daemon=True)
        with Live(console=console, refresh_per_second=10) as live:
            background.start()
            deadline = time.monotonic() + PATIENCE_SECONDS
            while True:
                all_made = not background.is_alive()  # asked before the sample, which then has seen them all
                sample = self.sample()
                visible = all_made and sample.files == sample.keys
                live.update(self.panel(sample, done=visible))
                if visible:
                    after = (self.windows, self.requests, self.refreshes)
                    windows, requests, refreshes = (a - b for a, b in zip(after, before, strict=True))
                    first, last = self.changed_at[changes], self.changed_at[-1]
                    return Stage(
                        name,
                        changes=len(self.changed_at) - changes,
                        windows=windows,
                        requests=requests,
                        refreshes=refreshes,
                        after_first=sample.at - first,
                        after_last=sample.at - last,
                    )
                if time.monotonic() > deadline:
                    raise TimeoutError(f"The share is still stale after {PATIENCE_SECONDS} s; see {self.aws.log}")
                time.sleep(STEP_SECONDS)

    def panel(self, sample: Sample, *, done: bool) -> Group:
        stale = len(sample.files ^ sample.keys)
        window = Text("none open", "dim")
        if sample.window_id:
            left = max(0.0, sample.refresh_at - sample.at)
            window = Text(f"open, to be refreshed in {left:.1f} s", "yellow")
        state = Text("up to date", "bold green") if done else Text(f"stale: {stale} changes not visible", "red")
        table = Table.grid(padding=(0, 2))
        table.add_row("In the bucket", f"{len(sample.keys)} objects")
        table.add_row("On the share", Text.assemble(f"{len(sample.files)} files  ", state))
        table.add_row("Window", window)
        table.add_row(
            "So far", f"{self.windows} windows, {self.requests} requests, {self.refreshes} RefreshCache calls"
        )
        return Group(Padding(table, (0, 0, 0, 2)), Text("") if done else Spinner("dots", style="cyan"))

    def upload(self) -> None:
        """Twenty objects, ten a second, as a program that knows nothing of the gateway writes them."""
        for number in range(20):
            time.sleep(0.1)
            self.aws.client("s3").put_object(Bucket=BUCKET, Key=f"photos/2024/{number:02}.jpg", Body=b"a photo")
            self.changed_at.append(time.time())

    def trickle(self) -> None:
        """An object a second, as a slow program writes them."""
        for number in range(8):
            self.aws.client("s3").put_object(Bucket=BUCKET, Key=f"scans/page-{number}.pdf", Body=b"a page")
            self.changed_at.append(time.time())
            time.sleep(1)

    def delete(self) -> None:
        for number in (3, 7):
            self.aws.client("s3").delete_object(Bucket=BUCKET, Key=f"photos/2024/{number:02}.jpg")
            self.changed_at.append(time.time())


def main() -> int:
    begin = time.monotonic()
    try:
        with local_aws() as (aws, gateway):
            show(aws, gateway)
    except KeyboardInterrupt:
        console.print("\n[yellow]Interrupted; everything that was started is stopped.")
        return 130
    except (StartError, TimeoutError, subprocess.CalledProcessError) as error:
        console.print(f"\n[red]The demo failed:[/] {error}")
        return 1
    console.print(f"[dim]The demo took {time.monotonic() - begin:.0f} s.")
    return 0


@contextmanager
def local_aws() -> Iterator[tuple[MiniStack, StorageGateway]]:
    title("A local AWS, with IAM enforced, and a simulated File Gateway, on loopback")
    with ministack(auth=True) as aws, StorageGateway(aws.client("s3"), refresh_seconds=0.5) as gateway:
        gateway.on_complete = partial(to_rule_targets, aws)
        console.print(f"  AWS at {aws.endpoint_url}, Storage Gateway at {gateway.endpoint_url}")
        yield aws, gateway


def show(aws: MiniStack, gateway: StorageGateway) -> None:
    aws.client("s3").create_bucket(Bucket=BUCKET)
    share = gateway.add_share(BUCKET, kind="NFS")
    demo = Demo(aws, gateway, share)

    title("Deploying with scripts/create-stack.sh")
    run(aws, gateway, "create-stack.sh", "--bucket", BUCKET, "--refresh-quiet-seconds", str(QUIET_SECONDS),
        "--min-refresh-interval-seconds", str(INTERVAL_SECONDS), "--no-initial-refresh")  # fmt: skip

    title("20 objects are uploaded to the bucket; the share's clients have seen an empty folder")
    demo.share.tree()
    stages = [demo.follow("Upload of 20", demo.upload)]

    title("2 of them are deleted")
    stages.append(demo.follow("Deletion of 2", demo.delete))

    title(f"8 objects trickle in, one a second: the window ends when the bucket has been quiet for {QUIET_SECONDS} s")
    stages.append(demo.follow("Trickle of 8", demo.trickle))

    title("How it stands (the local AWS makes no metrics of log lines: counts of 0), and what became of an object")
    operate(aws, gateway, "status.sh")
    operate(aws, gateway, "explain.sh", "--bucket", BUCKET, "--key", max(demo.samples[-1].keys))

    title("Removing it with scripts/delete-stack.sh")
    run(aws, gateway, "delete-stack.sh", "--yes")
    left = what_is_left(aws)
    console.print("  [red]Left over: " + ", ".join(left) if left else "  [green]Nothing is left in the account.")

    console.print()
    console.print(summary(stages))
    draw(demo.samples, demo.changed_at, gateway.refreshes, PICTURE)
    console.print(f"The time line as a picture: {PICTURE.relative_to(ROOT)}")


def summary(stages: list[Stage]) -> Table:
    table = Table(title="What happened", title_justify="left")
    table.add_column()
    for stage in stages:
        table.add_column(stage.name, justify="right")
    table.add_row("Changes in S3", *(str(stage.changes) for stage in stages))
    table.add_row("Windows", *(str(stage.windows) for stage in stages))
    table.add_row("Requests, and wakes of the gateway", *(str(stage.requests) for stage in stages))
    table.add_row("Refreshes", *(str(stage.refreshes) for stage in stages))
    table.add_row("Visible, after the first", *(f"{stage.after_first:.1f} s" for stage in stages))
    table.add_row("Visible, after the last", *(f"{stage.after_last:.1f} s" for stage in stages))
    return table


def title(text: str) -> None:
    console.print()
    console.print(f"[bold cyan]» {text}")


def run(aws: MiniStack, gateway: StorageGateway, script: str, *arguments: str) -> None:
    """Run a deploying script as it does, with the packages that are here already. Raises CalledProcessError."""
    if status := _show(aws, gateway, [sys.executable, "-m", "commands.deploy", script], script, *arguments):
        raise subprocess.CalledProcessError(status, script)


def operate(aws: MiniStack, gateway: StorageGateway, script: str, *arguments: str) -> None:
    """Run an operator's command as its script does, but with the packages that are here already."""
    if _show(aws, gateway, [sys.executable, "-m", "commands.operate", script], script, *arguments) == 2:
        raise subprocess.CalledProcessError(2, script)


def _show(aws: MiniStack, gateway: StorageGateway, program: list[str], script: str, *arguments: str) -> int:
    console.print(f"  [bold]{' '.join(['scripts/' + script, *arguments])}", soft_wrap=True)
    environment = aws.environment() | {
        "AWS_ENDPOINT_URL_STORAGE_GATEWAY": gateway.endpoint_url,
        "COLUMNS": str(console.width - 2),
    }
    with subprocess.Popen(
        [*program, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout
        for line in process.stdout:
            console.print(Text(f"  {line.rstrip()}", "dim"), soft_wrap=True)
    return process.returncode


def what_is_left(aws: MiniStack) -> list[str]:
    """Everything in the account but the bucket, and what the bucket notifies."""
    notification = aws.client("s3").get_bucket_notification_configuration(Bucket=BUCKET)
    return sorted({*aws.everything(), *notification} - {f"s3 {BUCKET}", "ResponseMetadata"})


if __name__ == "__main__":
    sys.exit(main())
