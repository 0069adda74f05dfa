"""Saved caches are found by key, prefix, ref and version, newest first, of any age; and never too many."""

from __future__ import annotations

import pytest

from p2pwf.core.events import Event
from p2pwf.core.ids import blob_cid
from p2pwf.runs import caches
from p2pwf.runs.caches import SavedCaches
from p2pwf.testing import make_submission
from tests.kit import Writer
from tests.runs.test_fold import finish


def submitted(writer: Writer, ref: str, repository: str = "local/one") -> Event:
    body: dict[str, object] = {
        **make_submission({"a": []}),
        "absent": [],
        "ref": f"refs/heads/{ref}",
        "repository": repository,
    }
    return writer.write("run.submit", body)


def save(writer: Writer, index: SavedCaches, submission: Event, *keys: str, version: str = "v") -> None:
    """End a run whose job has saved caches of these keys."""
    run = writer.desk.runs[submission.cid]
    plain = finish(writer, run, "a")
    body = dict(plain.body)
    entries = [{"key": key, "version": version, "link": blob_cid(key.encode()), "size": 1} for key in keys]
    event = writer.write("job.finish", {**body, "caches": entries}, run)
    index.note(submission, event)
    index.note(submission, event)


def keys(index: SavedCaches, submission: Event, *wanted: str, version: str = "v") -> list[str]:
    return [one.key for one in index.find(submission, wanted, version)]


def test_a_key_finds_itself_first_then_the_newest_that_begin_with_it() -> None:
    writer, index = Writer(1), SavedCaches()
    runs = [submitted(writer, "main") for _ in range(3)]
    save(writer, index, runs[0], "deps-1", "deps")
    save(writer, index, runs[1], "deps-2")
    save(writer, index, runs[2], "other")
    assert keys(index, runs[0], "deps") == ["deps", "deps-2", "deps-1"]
    assert keys(index, runs[0], "nothing", "deps-") == ["deps-2", "deps-1"]
    assert keys(index, runs[0], "deps", version="w") == []


def test_a_branch_sees_its_own_and_the_default_branch_of_its_repository() -> None:
    writer, index = Writer(1), SavedCaches()
    main, topic, other = submitted(writer, "main"), submitted(writer, "topic"), submitted(writer, "other")
    elsewhere = submitted(writer, "main", "local/two")
    for submission, key in ((main, "k-main"), (topic, "k-topic"), (other, "k-other"), (elsewhere, "k-two")):
        save(writer, index, submission, key)
    assert keys(index, topic, "k-") == ["k-topic", "k-main"]
    assert keys(index, main, "k-") == ["k-main"]
    assert keys(index, elsewhere, "k-") == ["k-two"]


def test_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "MAX_CACHES", 3)
    writer, index = Writer(1), SavedCaches()
    runs = [submitted(writer, "main" if number < 3 else "topic") for number in range(5)]
    for number, submission in enumerate(runs):
        save(writer, index, submission, f"k{number}")
    assert keys(index, runs[4], "k") == ["k4", "k3", "k2"]
