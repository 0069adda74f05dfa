"""What a run has left, for who asks: its artifacts, file by file, and its jobs' reports. Fetches what is not here."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final, NoReturn

import attrs
import structlog
import trio

from p2pwf.core.ids import Cid, PeerId
from p2pwf.errors import NotFound, P2pwfError, RemoteError
from p2pwf.node.kept import artifacts_of
from p2pwf.node.node import Node
from p2pwf.runner.log import MAX_NUMBER
from p2pwf.runner.manifest import LINK, MAX_MANIFEST, PROGRAM, parse
from p2pwf.runner.report import MAX_REPORT, VERSION
from p2pwf.runner.values import Annotation, StepResult
from p2pwf.runs import Run
from p2pwf.runs.view import keys_of, owners

CHUNK: Final = 256 * 1024
"""Bytes of a file in one line of a stream."""
STEP: Final = tuple(each.name for each in attrs.fields(StepResult))
ANNOTATION: Final = tuple(each.name for each in attrs.fields(Annotation))
DROPPED: Final = ("steps", "annotations", "summaries")

log = structlog.get_logger()


def artifact_rows(node: Node, run: Run) -> list[dict[str, Any]]:
    """[{name, size, job, attempt, link}], in the order in which their jobs finished."""
    return [
        {"name": one.name, "size": one.size, "job": one.job, "attempt": one.attempt, "link": one.link.text}
        for one in artifacts_of(node.engine, run.id)
    ]


async def artifact_files(node: Node, run: Run, name: str) -> AsyncGenerator[dict[str, Any], None]:
    """The files of an artifact: for each {path, mode (file, program or link), size, target (of a link)}, and after it
    as many {data} in base64 as its bytes take. Of several of one name the last. Raises NotFound for another name."""
    there = {one.name: one for one in artifacts_of(node.engine, run.id)}
    if name not in there:
        known = ", ".join(there) or "it has none"
        raise NotFound(f"no artifact {name!r} in this run", f"its artifacts: {known}")
    holders = _holders(run)
    path = await node.jobs.blob(there[name].link, holders)
    for file in parse(await _read(path, MAX_MANIFEST)).files:
        mode = "link" if file.mode == LINK else "program" if file.mode == PROGRAM else "file"
        yield {"path": file.path, "mode": mode, "size": file.size, "target": file.target}
        if file.cid is None:
            continue
        async with await trio.open_file(await node.jobs.blob(file.cid, holders), "rb") as content:
            while chunk := await content.read(CHUNK):
                yield {"data": b64encode(chunk).decode("ascii")}


async def reports(node: Node, run: Run) -> list[dict[str, Any]]:
    """Of each leg that has ended [{job, name, index, attempt, report}]: see protocols/reports.md; report is None where
    a job has none, or where nobody gives it now."""
    rows = []
    for key in keys_of(run):
        finish = run.tally.finish(key)
        if finish is None:
            continue
        cid = finish.body.get("report")
        report = await _report(node, cid, _holders(run)) if isinstance(cid, Cid) else None
        about = {"job": key[0], "name": run.tally.leg_of(key).name, "index": key[1], "attempt": finish.attempt}
        rows.append({**about, "report": report})
    return rows


async def _report(node: Node, cid: Cid, holders: list[PeerId]) -> dict[str, Any] | None:
    try:
        return read_report(await _read(await node.jobs.blob(cid, holders), MAX_REPORT))
    except P2pwfError as error:
        log.info("a report cannot be shown", cid=cid.text, error=error.message)
        return None


def read_report(content: bytes) -> dict[str, Any]:
    """A report from its bytes: the fields of version 1, others left out; raises RemoteError for what is none."""
    try:
        report = json.loads(content, parse_float=_no_number, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise RemoteError(f"a malformed report: {error}") from error
    if not isinstance(report, dict) or report.get("version") != VERSION:
        raise RemoteError("a malformed report, or one of another version")
    dropped = report.get("dropped")
    return {
        "version": VERSION,
        "steps": _rows(report, "steps", STEP),
        "annotations": _rows(report, "annotations", ANNOTATION),
        "dropped": _fields(dropped if isinstance(dropped, dict) else {}, DROPPED),
    }


def _rows(report: dict[str, Any], name: str, fields: tuple[str, ...]) -> list[dict[str, Any]]:
    rows = report.get(name)
    if not isinstance(rows, list) or not all(isinstance(one, dict) for one in rows):
        raise RemoteError(f"a malformed report: {name} is no list of objects")
    return [_fields(one, fields) for one in rows]


def _fields(row: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The known fields of a row: text, a number that any reader of JSON takes, or null."""
    kept = {name: row[name] for name in names if name in row}
    for name, value in kept.items():
        number = type(value) is int and abs(value) <= MAX_NUMBER
        if not (value is None or isinstance(value, str) or number):
            raise RemoteError(f"a malformed report: {name} is neither text nor a number")
    return kept


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is no number of a report")


def _holders(run: Run) -> list[PeerId]:
    return [*sorted(owners(run)), run.submitter]


async def _read(path: Path, limit: int) -> bytes:
    content = await trio.to_thread.run_sync(_read_at_most, path, limit)
    if len(content) > limit:
        raise RemoteError(f"a blob of over {limit:,} bytes, which is too large for what it is said to be")
    return content


def _read_at_most(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        return file.read(limit + 1)
