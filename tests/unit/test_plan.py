"""scripts/plan.sh: what it reads, what it reckons, what it says."""

import gzip
import json
import os
import random
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from moto import mock_aws
from PIL import Image

from commands.plan import __main__ as command
from commands.plan import outcome, sources
from commands.plan.outcome import Setting, alternatives, of_setting
from commands.plan.replay import Pace, Shown, replay
from commands.plan.report import environment
from commands.plan.sources import Part, SourceError, read_files, read_part
from commands.plan.trace import Contents, Piece, Trace, assemble
from dev.bench.world import START
from dev.local.gateway import Share, list_keys
from dev.local.ministack import ROOT
from event_aggregator.folders import Round, folder_of
from event_aggregator.settings import Settings
from tests.unit.test_replay import trace_of

ENOUGH = {"TABLE_NAME": "table", "QUEUE_URL": "queue"}
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

ACCESS_LOG = (
    '79a5 my-bucket [06/Feb/2026:00:00:38 +0000] 192.0.2.3 {who} 3E57 {operation} {key} "{request}" {status} - 113 -'
    ' 7 - "-" "S3Console/0.4" - s9lz SigV4 ECDHE AuthHeader my-bucket.s3.amazonaws.com TLSV1.2 - -\n'
)


def logged(key: str, operation: str = "REST.PUT.OBJECT", who: str = "arn:aws:iam::1:user/a", status: int = 200) -> str:
    return ACCESS_LOG.format(key=key, operation=operation, who=who, status=status, request=f"PUT /{key} HTTP/1.1")


def reported(name: str, key: str, **more: Any) -> dict[str, Any]:
    asked = {"bucketName": "my-bucket", "key": key}
    return {
        "eventSource": "s3.amazonaws.com", "eventName": name, "eventTime": "2026-02-06T00:00:38Z",
        "requestParameters": asked, "userIdentity": {"principalId": "AIDA"}, "readOnly": False, **more,
    }  # fmt: skip


def read(path: Path, bucket: str | None = None, columns: tuple[str, ...] = ()) -> sources.Read:
    return read_part(Part(str(path), path.stat().st_size, columns=columns), bucket)


def found_in(done: sources.Read) -> list[tuple[int, str]]:
    """When, and in which folder."""
    piece = done.piece
    return [(int(at), piece.names[folder]) for at, folder in zip(piece.times, piece.folders, strict=True)]


AT = 1_770_336_038_000  # 2026-02-06T00:00:38Z


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-06T00:00:38.000Z,a/b/c\n2026-02-06T00:00:38.000Z,d\n",
        "time,key\r\n2026-02-06T00:00:38.000Z,a/b/c\r\n2026-02-06T00:00:38.000Z,d\r\n",
        '2026-02-06T01:00:38+01:00,"a/b/c"\n2026-02-06 00:00:38,d\n',
        "1770336038,a/b/c\n1770336038000,d",
    ],
)
def test_a_csv_is_read_in_the_ways_in_which_people_write_times(tmp_path: Path, text: str) -> None:
    (tmp_path / "changes.csv").write_text(text)
    assert found_in(read(tmp_path / "changes.csv")) == [(AT, "/a/b"), (AT, "/")]


def test_a_line_that_is_no_change_is_told_of_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "changes.csv").write_text("2026-02-06T00:00:38.000Z,a/b\nyesterday,c/d\n2026-02-06T00:00:38.000Z,e/f\n")
    done = read(tmp_path / "changes.csv")
    assert found_in(done) == [(AT, "/a"), (AT, "/e")]
    assert (done.unread, done.example) == (1, "yesterday,c/d")


def test_an_access_log_tells_of_writes_and_deletions_that_succeeded(tmp_path: Path) -> None:
    lines = [
        logged("a/b/c"),
        logged("a/read", "REST.GET.OBJECT"),
        logged("a/denied", status=403),
        logged("my%2520folder/x", "REST.DELETE.OBJECT"),
        logged("my%20folder/y", "BATCH.DELETE.OBJECT"),
        logged("a/part", "REST.PUT.PART"),
        logged("a/whole", "REST.POST.UPLOAD"),
        logged("a/d", who="arn:aws:sts::1:assumed-role/Role/StorageGateway"),
    ]
    (tmp_path / "log").write_text("".join(lines))
    done = read(tmp_path / "log")
    assert found_in(done) == [(AT, "/a/b"), (AT, "/my folder"), (AT, "/my folder"), (AT, "/a")]
    assert done.by_gateways == 1
    assert found_in(read(tmp_path / "log", bucket="another-bucket")) == []


def test_cloudtrails_log_is_read_as_the_functions_read_its_reports(tmp_path: Path) -> None:
    records = [
        reported("PutObject", "a/b/c"),
        reported("PutObject", "a/denied", errorCode="AccessDenied"),
        reported("GetObject", "a/read", readOnly=True),
        reported("PutObjectAcl", "a/acl"),
        reported("DeleteObject", "d"),
        reported("PutObject", "e/f", userIdentity={"principalId": "AROA:StorageGateway"}),
        reported("DeleteObjects", ""),
    ]
    (tmp_path / "trail.json.gz").write_bytes(gzip.compress(json.dumps({"Records": records}).encode()))
    done = read(tmp_path / "trail.json.gz")
    assert found_in(done) == [(AT + 999, "/a/b"), (AT + 999, "/")]
    assert (done.by_gateways, done.unread) == (1, 1)
    assert "DeleteObjects" in done.example


def inventory(folder: Path, **changed: Any) -> Path:
    """An inventory as S3 writes it, in the folder; its manifest."""
    data = '"my-bucket","a%2Bb/c+d/e","2026-02-06T00:00:38.000Z"\n"another","x","2026-02-06T00:00:38.000Z"\n'
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "1.csv.gz").write_bytes(gzip.compress(data.encode()))
    manifest = {
        "destinationBucket": "arn:aws:s3:::inventories",
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key, LastModifiedDate",
        "files": [{"key": "my-bucket/all/data/1.csv.gz", "size": 100}],
    }
    place = folder / "2026-02-07T01-00Z" / "manifest.json"
    place.parent.mkdir()
    place.write_text(json.dumps(manifest | changed))
    return place


def test_an_inventory_is_read_by_its_manifest(tmp_path: Path) -> None:
    manifest = inventory(tmp_path)
    [done] = read_files([str(manifest)], "my-bucket", lambda *_: None)
    assert found_in(done) == [(AT, "/a+b/c d")]


def test_an_inventory_that_cannot_be_read_says_what_to_change(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="have S3 write it as CSV"):
        list(read_files([str(inventory(tmp_path / "1", fileFormat="ORC"))], None, lambda *_: None))
    with pytest.raises(SourceError, match="add the field"):
        list(read_files([str(inventory(tmp_path / "2", fileSchema="Bucket, Key"))], None, lambda *_: None))


def test_a_file_in_parts_gives_each_change_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_PIECE_BYTES", 1_000)
    lines = [f"{AT + number},{'x' * (number % 40)}/{number}\n" for number in range(500)]
    (tmp_path / "changes.csv").write_text("time,key\n" + "".join(lines))
    (tmp_path / "zipped.gz").write_bytes(gzip.compress("".join(lines).encode()))
    expected = [(AT + number, "/" + "x" * (number % 40)) for number in range(500)]
    told: list[tuple[float, int]] = []
    parts = list(read_files([str(tmp_path / "changes.csv")], None, lambda *what: told.append(what)))
    assert len(parts) > 10
    assert [one for part in parts for one in found_in(part)] == expected
    assert told[-1] == (1.0, 500)
    assert found_in(read(tmp_path / "zipped.gz")) == expected


def test_what_lies_in_s3_is_read_from_there() -> None:
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="access-logs")
        s3.put_object(Bucket="access-logs", Key="my-bucket/1", Body=logged("a/b").encode())
        s3.put_object(Bucket="access-logs", Key="my-bucket/2.gz", Body=gzip.compress(logged("c/d").encode()))
        done = read_files(["s3://access-logs/my-bucket/"], None, lambda *_: None)
        assert [found_in(one) for one in done] == [[(AT, "/a")], [(AT, "/c")]]
        with pytest.raises(SourceError, match="There is nothing at"):
            list(read_files(["s3://access-logs/nowhere/"], None, lambda *_: None))


def test_a_listing_knows_when_objects_were_written_last() -> None:
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="my-bucket")
        s3.put_object(Bucket="my-bucket", Key="a/b", Body=b"")
        [done] = sources.read_listing("my-bucket", boto3.Session(), lambda *_: None)
        assert [folder for _, folder in found_in(done)] == ["/a"]


# ---- What it reckons


def some_keys(chance: random.Random) -> list[str]:
    return sorted({"/".join(chance.choices("abc", k=chance.randint(1, 4))) + str(number) for number in range(2_500)})


def test_a_refresh_reads_what_the_simulated_gateway_reads() -> None:
    chance = random.Random(1)  # noqa: S311 - the same at each run
    keys = some_keys(chance)
    objects: dict[str, int] = {}
    for key in keys:
        objects[folder_of(key)] = objects.get(folder_of(key), 0) + 1
    contents = Contents(objects)
    for prefix in ("", "a/", "a/b/"):
        for names, recursive in ((["/"], True), (["/"], False), (["b", "c"], True), (["b", "c"], False)):
            share = Share(partial(list_keys, keys), prefix)
            share.tree()
            share.refresh(names, recursive=recursive)
            read_there = contents.of(Round(names, recursive), prefix)
            assert (read_there.lists, read_there.heads) == (share.lists, share.heads), (prefix, names, recursive)


def some_trace(changes: int = 400, seed: int = 2) -> Trace:
    chance, at, traffic = random.Random(seed), 0, []  # noqa: S311 - the same at each run
    for number in range(changes):
        at += round(chance.expovariate(1 / 20_000)) + 1
        traffic.append((at, f"{chance.choice(['', 'a/', 'a/b/', 'c/'])}{number}"))
    return trace_of(traffic)


@pytest.mark.parametrize("shares", [[Shown()], [Shown(), Shown("a/")], [Shown("a/"), Shown("c/", "sgw-2")]])
def test_a_change_is_visible_when_the_first_refresh_of_its_folder_that_began_later_ends(shares: list[Shown]) -> None:
    trace, setting = some_trace(), Setting("delay", delay=45)
    settings = Settings.read(ENOUGH | setting.environment)
    done = replay(trace, shares, settings, Pace())
    waits, halves = [], []
    for at, folder in zip(trace.times.tolist(), trace.folders.tolist(), strict=True):
        ends = [
            next(r.ended for r in made if r.began >= at and (r.folders is None or folder in r.folders)) - at
            for share, made in zip(shares, done.refreshes, strict=True)
            if f"{trace.names[folder]}/"[1:].startswith(share.prefix)
        ]
        waits += [max(ends) / 1000] if ends else []
    waits.sort()
    for folder, first, last in zip(*(part.tolist() for part in trace.uploads), strict=True):
        begun = [
            r
            for share, made in zip(shares, done.refreshes, strict=True)
            for r in made
            if f"{trace.names[folder]}/"[1:].startswith(share.prefix)
            and first <= r.began < last
            and (r.folders is None or folder in r.folders)
        ]
        halves.append(bool(begun))
    result = of_setting(setting, {}, trace, shares, Pace())
    assert result.median == waits[len(waits) // 2]
    assert (result.most, result.longest) == (waits[int(len(waits) * 0.95)], waits[-1])
    assert result.seen_half == pytest.approx(sum(halves) / len(halves))
    assert 0 < result.seen_half < 1
    requests = [r.requests for made in done.refreshes for r in made]
    assert result.lists_a_day * trace.days == pytest.approx(sum(one.lists for one in requests))
    assert result.heads_a_day * trace.days == pytest.approx(sum(one.heads for one in requests))


def test_only_the_last_days_are_replayed_and_all_objects_are_there() -> None:
    day = 86_400_000
    piece = Piece(np.array([START, START + 9 * day, START + 10 * day]), np.zeros(3, int), np.arange(3), ["/a"])
    trace = assemble([piece], days=2)
    assert len(trace.times) == 2
    assert trace.contents.alone("/a").heads == 3


def test_what_else_there_is_on_a_trace_that_can_be_reckoned_by_hand() -> None:
    # One change a minute in a folder, for ten hours.
    trace = trace_of([(number * 60_000, f"a/{number}") for number in range(600)])
    ttl, _, _, schedule, each = (task(trace, [Shown()], Pace(1, 1e12, 1e12)) for task in alternatives())
    assert (ttl.name, ttl.refreshes_a_day, ttl.lists_a_day) == ("automated refresh, TTL 5 min", 288, 288)
    assert (ttl.median, ttl.most, ttl.longest) == (120, 240, 240)
    assert ttl.heads_a_day == 288 * 600
    assert schedule.longest == 601
    assert schedule.lists_a_day == pytest.approx(2 * schedule.refreshes_a_day)
    assert schedule.seen_half == ttl.seen_half == 1
    assert each.refreshes_a_day * trace.days == pytest.approx(600)
    assert each.longest == 1


def test_one_refresh_an_event_loses_what_a_gateway_with_two_in_progress_refuses() -> None:
    trace = trace_of([(0, "a/1"), (1, "b/1"), (2, "c/1")])
    *_, each = (task(trace, [Shown()], Pace()) for task in alternatives())
    assert each.longest is None


# ---- What it says


@pytest.fixture(scope="module")
def csv_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day of changes, some of them in bursts."""
    chance, at = random.Random(3), START  # noqa: S311 - the same at each run
    path = tmp_path_factory.mktemp("plan") / "changes.csv"
    lines = []
    for number in range(2_000):
        at += round(chance.expovariate(1 / (2_000 if number % 100 else 2_000_000)))
        lines.append(f"{at},{chance.choice('abc')}/{number // 100}/{number}\n")
    path.write_text("".join(lines))
    return path


def test_it_recommends_three_settings_that_the_functions_take(csv_file: Path) -> None:
    plan = command.make(command.parser().parse_args([str(csv_file), "--bucket", "renders"]))
    soonest, balanced, cheapest = plan.recommended.values()
    for one in (soonest, balanced, cheapest):
        assert one.setting
        own = Settings.read(ENOUGH | environment(one.setting, "renders"))
        alone = Settings.read(ENOUGH | one.setting.environment)
        assert own.refresh_delay_seconds.default == 30
        assert not own.refresh_quiet_seconds.default
        assert own.longest_delay("renders") == alone.longest_delay("")
    assert soonest.most
    assert all(soonest.most <= (one.most or 0) for one in plan.ours)
    assert all(cheapest.bill.total <= one.bill.total for one in plan.ours)
    assert soonest.bill.total >= balanced.bill.total >= cheapest.bill.total


@pytest.mark.parametrize(
    ("setting", "bucket", "flags"),
    [
        (Setting("", delay=30), "renders", {"REFRESH_DELAY_SECONDS": "30"}),
        (Setting("", delay=600), "renders", {"REFRESH_DELAY_SECONDS": "30,renders=600"}),
        (Setting("", delay=600), "", {"REFRESH_DELAY_SECONDS": "600", "REFRESH_QUIET_SECONDS": "0"}),
        (Setting("", quiet=60), "", {"REFRESH_QUIET_SECONDS": "60", "REFRESH_MAX_DELAY_SECONDS": "900"}),
        (
            Setting("", quiet=60),
            "renders",
            {"REFRESH_QUIET_SECONDS": "0,renders=60", "REFRESH_MAX_DELAY_SECONDS": "900"},
        ),
    ],
)
def test_the_line_to_run_gives_a_bucket_a_pace_of_its_own(setting: Setting, bucket: str, flags: dict[str, str]) -> None:
    assert environment(setting, bucket) == flags


def test_it_says_the_same_in_a_table_and_for_programs(csv_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(csv_file), "--refresh-delay-seconds", "30,300", "--refresh-quiet-seconds", "60"]
    assert command.main(arguments) == 0
    table = capsys.readouterr().out
    assert command.main([*arguments, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in content["settings"]] == ["delay 30 s", "delay 300 s", "quiet 60 s, at most 900 s"]
    for one in (*content["settings"], *content["alternatives"]):
        assert one["name"] in table
        assert f"{one['dollars_a_month']:,.2f}" in table
        assert one["dollars_a_month"] == pytest.approx(sum(one["bill"].values()))
    for one in content["recommended"].values():
        assert one["run"] in table


def test_what_cannot_be_read_is_said_on_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.csv").write_text("nothing\nat all\n")
    for arguments in ([], [str(tmp_path / "none")], [str(tmp_path / "empty.csv")]):
        assert command.main(arguments) == 2
    said = capsys.readouterr().err
    assert "Give a FILE, or --bucket" in said
    assert "There is no" in said
    assert "There is no change in what was given. 1 lines could not be read" in said


@pytest.mark.skipif(not BROWSER and "CI" not in os.environ, reason="no chromium here")
def test_the_page_is_drawn_by_a_browser_without_a_network(csv_file: Path, tmp_path: Path) -> None:
    page, picture = tmp_path / "plan.html", tmp_path / "plan.png"
    assert command.main([str(csv_file), "--bucket", "renders", "--html", str(page), "--png", str(picture)]) == 0
    assert "src=" not in page.read_text()
    assert BROWSER
    shot = tmp_path / "shot.png"
    browser = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile",
               "--proxy-server=127.0.0.1:1", "--window-size=1240,1800", "--virtual-time-budget=1000"]  # fmt: skip
    drawn = subprocess.run(
        [*browser, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=True, timeout=100
    ).stdout
    assert drawn.count("<tr") == 1 + 11 + 5
    assert drawn.count("<code>scripts/create-stack.sh --bucket renders") == 3
    subprocess.run([*browser, f"--screenshot={shot}", page.as_uri()], capture_output=True, check=True, timeout=100)
    for image in (shot, picture):
        with Image.open(image) as drawing:
            colors = drawing.convert("RGB").getcolors(1 << 24)
        assert len(colors or ()) > 50, "it is blank"


def test_the_page_about_it_is_what_its_help_says() -> None:
    assert f"```\n{command.parser().format_help()}```" in (ROOT / "docs" / "planning.md").read_text()


def test_never_is_said_where_something_is_never_seen() -> None:
    assert outcome._quantiles(np.array([1_000, 99_000, 10**9]), never=10**9) == (99.0, None, None)
