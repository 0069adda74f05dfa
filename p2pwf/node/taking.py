"""An archive of a clock taken in: read whole and checked as a stranger's events are before anything of it is kept.

Knows the format of protocols/archive.md and the rules of the clock; must not know who takes what it gives. The file is
read twice: what is kept the second time is what was checked the first time, or nothing.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

import attrs

from p2pwf.clock import Accepted, Clock, Invalid
from p2pwf.core.dagcbor import DagCborError, Value, decode
from p2pwf.core.events import MAX_EVENT, EventError, SignedBlock, parse
from p2pwf.core.ids import RAW_PREFIX, Cid, PeerId, block_cid
from p2pwf.core.sign import SIGNATURE_LENGTH
from p2pwf.engine.base import read_block
from p2pwf.engine.desk import chunks
from p2pwf.engine.recovery import RESTORED
from p2pwf.errors import NotFound, Refused, StorageError
from p2pwf.node.facts import PEER, PIN_MS
from p2pwf.node.loop import stored_event
from p2pwf.node.portable import GROUP, MAX_BLOBS, VERSION, network_of
from p2pwf.node.restore import SPARE
from p2pwf.store.blobs import BlobStore
from p2pwf.store.car import Section, bad, read_car
from p2pwf.store.datadir import DataDir
from p2pwf.store.disk import disk_errors
from p2pwf.store.events import Commit, EventStore

MAX_SMALL: Final = 65_536
"""Bytes of a block of the archive's own: a group of GROUP events takes 54,000."""
PINNED_FOR: Final = "imported"
NO_QUOTA: Final = 1 << 62
"""Bytes: it bounds what comes from peers, and nothing is collected here."""

Take = Callable[[tuple[SignedBlock, ...]], None]
"""Keeps events, which come in an order in which each is after what it stands on."""


@attrs.frozen(slots=True)
class Checked:
    """An archive that was read to its end. `fresh`: of each event that is not here its signature."""

    fresh: dict[Cid, bytes]
    events: int
    blobs: int
    blob_bytes: int


@attrs.frozen(slots=True)
class Taken:
    """What became of an archive: `events` and `blobs` in it, of which so many are `new` here."""

    events: int
    new: int
    blobs: int


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file of an archive, to be read; raises NotFound, StorageError, or Refused if it is no plain file."""
    try:
        if not path.is_file() and path.exists():
            raise Refused(f"{path} is not a plain file", "an import reads it twice: store it first")
        file = path.open("rb")
    except FileNotFoundError:
        raise NotFound(f"no archive {path}", "`p2pwf clock export FILE` makes one") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}", "look at its owner and mode") from error
    with file, disk_errors(path):
        yield file


def check(file: BinaryIO, store: EventStore, folder: Path) -> Checked:
    """Read an archive to its end and judge each event that is not in `store` by the rules of the clock.

    Writes nothing. Raises Refused for what is not whole, of another network, or not accepted; StorageError if there is
    no room for its blobs. Cost: the log of the store, and the archive.
    """
    network = network_of(store, folder)
    clock = Clock(network)
    for stored in store.load():
        clock.accept(read_block(SignedBlock(stored.block, stored.signature), network), trusted=True)
    meta = store.meta_all()
    own = None if RESTORED in meta else PeerId(meta.get(PEER, b"").decode())
    fresh: dict[Cid, bytes] = {}
    events = blobs = size = 0
    for item in items(file, network):
        if isinstance(item, Section):
            for _ in item.chunks():
                pass
            blobs, size = blobs + 1, size + item.size
            continue
        events += 1
        if block_cid(item.block) not in clock.dag:
            _judge(clock, item, own)
            fresh[block_cid(item.block)] = item.signature
    if blobs and shutil.disk_usage(folder).free < size + SPARE:
        raise StorageError(f"no room in {folder} for {size} bytes of blobs", "make room there; nothing was taken")
    return Checked(fresh, events, blobs, size)


def _judge(clock: Clock, signed: SignedBlock, own: PeerId | None) -> None:
    cid = block_cid(signed.block)
    try:
        event = parse(signed)
    except EventError as error:
        raise bad(f"{cid}: {error}") from error
    result = clock.accept(event)
    if isinstance(result, Invalid):
        raise bad(f"{cid}: {result.reason}")
    if not isinstance(result, Accepted):
        raise bad(f"{cid} stands on events that are neither here nor before it")
    if event.author == own:
        raise Refused(
            f"the archive has an event of this node's own that it does not know: {cid}",
            "this data folder is older than the archive: `p2pwf restore --same-identity` is made for that",
        )


def items(file: BinaryIO, network: Cid) -> Iterator[SignedBlock | Section]:
    """The events and then the blobs of an archive; each blob has to be read before the next one.

    Raises Refused unless the archive is whole, and of this network."""
    root, sections = read_car(file)
    opening = next(sections, None)
    if opening is None or opening.cid != root:
        raise bad("it does not begin with its root")
    _check_opening(_map(opening), network)
    events = blobs = 0
    for section in sections:
        if section.cid.startswith(RAW_PREFIX):
            blobs += 1
            if blobs > MAX_BLOBS:
                raise bad(f"it has more than {MAX_BLOBS} blobs")
            yield section
            continue
        block = _map(section)
        if block == {"blobs": blobs, "events": events}:
            if next(sections, None) is not None:
                raise bad("there is something behind its end")
            return
        if blobs:
            raise bad("its end counts other events or blobs than it has")
        for signed in _group(block, sections):
            events += 1
            yield signed
    raise bad("it is cut off: its end is missing")


def _check_opening(opening: dict[str, Value], network: Cid) -> None:
    version, of = opening.get("archive"), opening.get("network")
    if type(version) is not int or version < 1 or not isinstance(of, Cid):
        raise bad("it opens as something else")
    if version > VERSION:
        raise Refused(
            f"this archive has format {version}, this p2pwf knows up to {VERSION}", "a newer p2pwf made it: upgrade"
        )
    if of != network:
        raise Refused(
            f"this archive is of the network {of}, and this node is in {network}",
            "name the data folder of a node of that network: --data-dir DIR",
        )


def _group(block: dict[str, Value], sections: Iterator[Section]) -> Iterator[SignedBlock]:
    cids, sigs = block.get("events"), block.get("sigs")
    if block.keys() != {"events", "sigs"} or not isinstance(cids, list) or not isinstance(sigs, bytes):
        raise bad("it holds a block that has no place in one, or its end counts wrong")
    if not 0 < len(cids) <= GROUP or len(sigs) != SIGNATURE_LENGTH * len(cids):
        raise bad("it has not one signature for each event")
    for number, cid in enumerate(cids):
        section = next(sections, None)
        if section is None or section.cid != cid:
            raise bad(f"{cid if isinstance(cid, Cid) else 'an event'} is not where its signature says")
        start = SIGNATURE_LENGTH * number
        yield SignedBlock(section.content(MAX_EVENT), sigs[start : start + SIGNATURE_LENGTH])


def _map(section: Section) -> dict[str, Value]:
    try:
        block = decode(section.content(MAX_SMALL), MAX_SMALL)
    except DagCborError as error:
        raise bad(f"{section.cid}: {error}") from error
    if not isinstance(block, dict):
        raise bad(f"{section.cid} is no map")
    return block


def take(file: BinaryIO, checked: Checked, network: Cid, keep: Take, blobs: BlobStore) -> Taken:
    """Keep what is new of an archive that was checked: events through `keep`, a chunk at a time, then blobs, for as
    long as those of a run stay. Raises what `keep` raises, StorageError, and Refused if the file has changed."""
    file.seek(0)
    waiting: list[SignedBlock] = []
    held: list[Cid] = []
    for item in items(file, network):
        if isinstance(item, Section):
            _put(item, blobs)
            held.append(item.cid)
        elif (signature := checked.fresh.get(block_cid(item.block))) is not None:
            if signature != item.signature:
                raise bad("it changed while it was read")
            waiting.append(item)
            if len(waiting) >= GROUP:
                _give(waiting, keep)
    _give(waiting, keep)
    if held:
        blobs.pin_all(held, PINNED_FOR, time.time_ns() // 1_000_000 + PIN_MS)
    return Taken(checked.events, len(checked.fresh), checked.blobs)


def _give(waiting: list[SignedBlock], keep: Take) -> None:
    for chunk in chunks(waiting):
        keep(chunk)
    waiting.clear()


def _put(section: Section, blobs: BlobStore) -> None:
    if blobs.has(section.cid):
        for _ in section.chunks():
            pass
        return
    with blobs.writer() as writer:
        for chunk in section.chunks():
            writer.write(chunk)
        writer.commit(section.cid)


def take_offline(path: Path, folder: Path) -> Taken:
    """Take an archive into the data folder of a node that does not run. Raises as `check` and `take` do."""
    data = DataDir(folder)
    if not data.events.exists():
        raise NotFound(f"no node has worked in {folder}", "name its data folder: --data-dir DIR, or P2P_DATA_DIR")
    with data.lock(), opened(path) as file, closing(EventStore.open(data.events)) as store:
        checked = check(file, store, folder)
        with closing(BlobStore(data.blobs, NO_QUOTA)) as blobs:
            return take(file, checked, network_of(store, folder), lambda chunk: _commit(store, chunk), blobs)


def _commit(store: EventStore, blocks: tuple[SignedBlock, ...]) -> None:
    store.commit(Commit(tuple(stored_event(parse(signed)) for signed in blocks)))


def facts(taken: Taken) -> dict[str, int]:
    """As the control API and `--json` tell it."""
    return cast("dict[str, int]", attrs.asdict(taken))
