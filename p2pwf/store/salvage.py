"""A damaged event database: what can still be read of it goes into a new one, and it is set aside, never thrown away.

Knows rows and files; must not know what an event means. Every row carries a checksum and every block is the preimage of
its CID, so what is taken over is what was written. What cannot be read is missing in the new database: its owner has to
know, and to fetch it from others, before it goes on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Final

from p2pwf.core.ids import Cid
from p2pwf.store.disk import DamagedFile, disk_errors, sync_folder
from p2pwf.store.events import Commit, EventStore, StoredEvent, checked_event, checked_meta

REBUILT: Final = ".rebuilt"
"""The end of the name of a new database that is whole, and not in its place yet."""
SIDES: Final = ("-wal", "-shm", "")
BATCH: Final = 512
"""Events of one commit."""
MAX_SET_ASIDE: Final = 1000


def salvage(
    path: Path, meta: dict[str, bytes | None], check: Callable[[EventStore], None] = lambda _: None
) -> tuple[int, Path]:
    """Make a new database of what can be read of the one at `path`, with the values `meta` beside those it holds, and
    put it in its place; returns how many events it has, and the folder in which the damaged one lies now.

    `check` looks at the new one before it takes that place, and raises if it is of no use. Raises StorageError if the
    disk is full or fails; then, and when `check` does, the damaged one is still in its place, and no new one is kept.
    """
    rebuilt = path.with_name(path.name + REBUILT)
    fresh = path.with_name(path.name + REBUILT + ".new")
    with disk_errors(path):
        if not rebuilt.exists():
            for end in SIDES:
                fresh.with_name(fresh.name + end).unlink(missing_ok=True)
            with closing(EventStore.open(fresh)) as store:
                found = _events(path)
                while events := tuple(islice(found, BATCH)):
                    store.commit(Commit(events))
                store.commit(Commit((), {**read_meta(path), **meta}))
                try:
                    check(store)
                except BaseException:
                    store.close()
                    fresh.unlink()
                    raise
            fresh.rename(rebuilt)
            sync_folder(path.parent)
        aside = _set_aside(path)
        rebuilt.rename(path)
        sync_folder(path.parent)
    with closing(EventStore.open(path)) as store:
        return store.count(), aside


def read_meta(path: Path) -> dict[str, bytes]:
    """The values of its node that can be read of a damaged database, each as it was written."""
    found: dict[str, bytes] = {}
    for row in _rows(path, "SELECT key, value, sum FROM meta"):
        with suppress(DamagedFile):
            key, value = checked_meta(path, row)
            found[key] = value
    return found


def _events(path: Path) -> Iterator[StoredEvent]:
    """Every event that can be read and is what was written, once: from the start to the first bad page, and from the
    end back to the last one."""
    seen: set[Cid] = set()
    columns = "SELECT cid, block, signature, author, seq, lamport, type, run, sum FROM event ORDER BY rowid"
    for query in (columns, f"{columns} DESC"):
        for row in _rows(path, query):
            try:
                event = checked_event(path, row)
            except DamagedFile:
                continue
            if event.cid not in seen:
                seen.add(event.cid)
                yield event


def _rows(path: Path, query: str) -> Iterator[tuple[object, ...]]:
    """The rows of a query, until one cannot be read."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            connection.text_factory = lambda text: text.decode(errors="replace")
            cursor = connection.execute(query)
            while (row := cursor.fetchone()) is not None:
                yield row
    except sqlite3.Error:
        return


def _set_aside(path: Path) -> Path:
    """Move a database and its log into a folder of their own."""
    for number in range(1, MAX_SET_ASIDE):
        aside = path.with_name(f"damaged-{number}")
        if not (aside / path.name).exists():
            break
    aside.mkdir(mode=0o700, exist_ok=True)
    for end in SIDES:  # the database last: while it is there, a start that was cut off here begins again
        part = path.with_name(path.name + end)
        if part.exists():
            part.rename(aside / part.name)
    sync_folder(aside)
    sync_folder(path.parent)
    return aside
