"""A clock in one file: what `p2pwf clock export` writes, from events and blobs as they come. Knows no network.

The format is protocols/archive.md: a CAR of an opening, groups of events, each after its signatures, blobs, and an end
that counts what there was. It is written in one pass and read in one, however large.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

import attrs

from p2pwf import __version__
from p2pwf.core.dagcbor import Value, encode
from p2pwf.core.events import Event, EventError, SignedBlock, parse
from p2pwf.core.ids import RAW_PREFIX, Cid, block_cid
from p2pwf.errors import NotFound, P2pwfError, Refused, StorageError, UsageError
from p2pwf.node.backup import Source, blob_name
from p2pwf.node.facts import NETWORK
from p2pwf.runner.manifest import MAX_MANIFEST, blobs_of
from p2pwf.runner.manifest import parse as parse_manifest
from p2pwf.store.car import CHUNK, CarWriter
from p2pwf.store.events import EventStore

VERSION: Final = 1
GROUP: Final = 512
"""Events after one block of signatures: what is read or sent at a time elsewhere too."""
MAX_RUNS: Final = 1024
"""Runs whose blobs one archive may be asked to hold."""
MAX_BLOBS: Final = 250_000
"""Blobs of one archive, as of a backup: their ids are held in memory."""
_TREES: Final = {"source", "link"}
"""Where the body of an event names a manifest."""
_PLAIN: Final = {"log", "report"}
"""Where it names a blob as such."""


@attrs.frozen(slots=True)
class Exported:
    """What an archive holds. `left_out`: blobs of the named runs that are not whole on this disk."""

    network: Cid
    events: int
    blobs: int
    left_out: int
    bytes: int


def export(
    out: BinaryIO,
    network: Cid,
    blocks: Iterable[SignedBlock],
    runs: tuple[str, ...],
    folder: Path,
    *,
    made_at: int,
    made_by: str = __version__,
) -> Exported:
    """Write an archive of the events, which come in (lamport, CID) order, and of the blobs of `runs`.

    `runs`: beginnings of ids, each of one run; their blobs are taken from the data folder `folder`. `made_at`: ms since
    1970. Raises UsageError, NotFound for a run that is none, StorageError.
    """
    if len(runs) > MAX_RUNS:
        raise UsageError(f"{len(runs)} runs are over {MAX_RUNS}", "make more than one archive")
    opening = encode({"archive": VERSION, "network": network, "made_by": made_by, "made_at": made_at})
    car = CarWriter(out, block_cid(opening))
    car.add(block_cid(opening), opening)
    wanted = _Wanted(runs)
    count, pages = 0, iter(blocks)
    while page := list(islice(pages, GROUP)):
        events = [_parsed(signed) for signed in page]
        sigs = b"".join(signed.signature for signed in page)
        group = encode({"events": [event.cid for event in events], "sigs": sigs})
        car.add(block_cid(group), group)
        for event in events:
            car.add(event.cid, event.signed.block)
            wanted.look(event)
        count += len(events)
    blobs, left_out = 0, 0
    for cid in wanted.every(folder):
        if _add_blob(car, cid, folder):
            blobs += 1
        else:
            left_out += 1
    end = encode({"blobs": blobs, "events": count})
    car.add(block_cid(end), end)
    return Exported(network, count, blobs, left_out, car.written)


def _parsed(signed: SignedBlock) -> Event:
    if not signed.signature:
        raise Refused(
            "this clock was pruned, and an archive holds events whole",
            "use an archive that was made before that, or `p2pwf backup`",
        )
    try:
        return parse(signed)
    except EventError as error:
        cid = block_cid(signed.block).text
        raise StorageError(f"{cid} on disk is no event: {error}", "see `p2pwf clock verify`") from error


def _add_blob(car: CarWriter, cid: Cid, folder: Path) -> bool:
    """Write a blob, unless it is not here, or not whole."""
    try:
        with Source(folder / blob_name(cid)) as source:
            if not source.is_whole(cid):
                return False
            car.begin(cid, source.size)
            left = source.size
            while left:
                chunk = source.read(min(left, CHUNK))
                if not chunk:
                    raise StorageError(f"blob {cid} became shorter while it was read", "try again")
                car.more(chunk)
                left -= len(chunk)
            return True
    except NotFound:
        return False


class _Wanted:
    """The blobs of the runs that were asked for, found while their events go by."""

    def __init__(self, runs: tuple[str, ...]) -> None:
        self._found: dict[str, Cid | None] = dict.fromkeys(runs)
        self._trees: dict[Cid, None] = {}
        self._plain: dict[Cid, None] = {}

    def look(self, event: Event) -> None:
        if event.type == "run.submit":
            for start, known in self._found.items():
                if event.cid.text.startswith(start):
                    if known is not None:
                        raise UsageError(f"{start!r} begins the ids of several runs", "give more of it")
                    self._found[start] = event.cid
        if event.run is not None and event.run in self._found.values():
            self._links(event.body)

    def _links(self, value: Value | Mapping[str, Value], key: str = "") -> None:
        """Note what a body names; the depth of an event bounds the depth of this."""
        if isinstance(value, Cid):
            if value.startswith(RAW_PREFIX) and key in _TREES | _PLAIN:
                (self._trees if key in _TREES else self._plain)[value] = None
        elif isinstance(value, dict):
            for name, inner in value.items():
                self._links(inner, name)
        elif isinstance(value, list):
            for inner in value:
                self._links(inner, key)

    def every(self, folder: Path) -> Iterator[Cid]:
        """All of them, each once; raises NotFound if a run was not there."""
        for start, known in self._found.items():
            if known is None:
                raise NotFound(f"no run {start!r} in this clock", "see `p2pwf workflow list`")
        every = dict.fromkeys((*self._plain, *self._trees))
        for tree in self._trees:
            every.update(dict.fromkeys(_files_of(tree, folder)))
        if len(every) > MAX_BLOBS:
            raise UsageError(f"{len(every)} blobs are over {MAX_BLOBS}", "name fewer runs")
        yield from every


def _files_of(tree: Cid, folder: Path) -> tuple[Cid, ...]:
    """The files of a manifest; none if that is not here, not whole, or none."""
    try:
        with Source(folder / blob_name(tree)) as source:
            if source.size > MAX_MANIFEST or not source.is_whole(tree):
                return ()
            return blobs_of(parse_manifest(source.read(source.size)))
    except P2pwfError:
        return ()  # counted as left out when the manifest itself comes up, or a file under it


def network_of(store: EventStore, folder: Path) -> Cid:
    """The network of the node of a data folder; raises Refused if it is in none yet."""
    found = store.meta_all().get(NETWORK)
    if found is None:
        raise Refused(f"the node of {folder} is in no network yet", "start one there first: `p2pwf up`")
    return Cid(found)
