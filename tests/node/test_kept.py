"""What the jobs of other members have left, and what of it is believed."""

from __future__ import annotations

from typing import cast

import pytest
from structlog.testing import capture_logs

from p2pwf.core.ids import Cid, blob_cid
from p2pwf.engine import Engine
from p2pwf.node import kept
from p2pwf.runs import Run
from tests.kit import Writer, network

HOSTILE = ("../../.ssh", "/etc/cron.d/x", "..", "a\\b", "a\nb", "nul\0")


def left(names: tuple[str, ...]) -> tuple[Writer, Run]:
    """A run whose one job says that it has left artifacts of these names."""
    (writer,) = network(1)
    run = writer.submit({"a": []})
    entries = [{"name": name, "link": blob_cid(name.encode()), "size": 1} for name in names]
    writer.write(
        "job.finish",
        {
            "run": run.id, "job": "a", "leg": 0, "attempt": 1, "uses": [], "conclusion": "success",
            "outcome": "success", "outputs": {}, "log": None, "report": None, "artifacts": entries, "caches": [],
            "error": None,
        },
        run,
    )  # fmt: skip
    return writer, run


def names_of(writer: Writer, run: Cid) -> list[str]:
    return [one.name for one in kept.artifacts_of(cast("Engine", writer), run)]


def test_t41_an_artifact_named_as_a_way_out_of_its_folder_is_left_out() -> None:
    writer, run = left(("good", *HOSTILE))
    with capture_logs() as logged:
        assert names_of(writer, run.id) == ["good"]
    assert len(logged) == len(HOSTILE)


def test_t41_without_the_guard_it_is_one_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "check_name", lambda _: None)
    writer, run = left(("good", *HOSTILE))
    assert names_of(writer, run.id) == ["good", *HOSTILE]
