"""From a backup to a data folder: checked whole before anything is written, then written aside and put in place.

Knows what a backup holds and whose chain of events it carries; must not know the network or a running engine. A node's
chain must never fork, and a backup may be older than what the node wrote last: so what is restored is another peer with
the old one's knowledge, or the old peer, marked to write nothing before it has heard all members (engine/recovery.py).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import attrs

from p2pwf.clock import Clock
from p2pwf.core.bodies import ROLES
from p2pwf.core.ids import DAG_CBOR_PREFIX, RAW_PREFIX, Cid, PeerId, is_cid, public_key_of
from p2pwf.core.sign import Signer
from p2pwf.engine.membership import TICKET
from p2pwf.engine.recovery import RESTORED, restored_value
from p2pwf.errors import NotFound, Refused, StorageError
from p2pwf.net.identity import load, load_or_create
from p2pwf.node.backup import BLOB_INDEX, EVENTS, FORMAT, MANIFEST, MAX_FILES, Progress, blob_of, most_bytes
from p2pwf.node.facts import IDENTITY, NETWORK, PEER
from p2pwf.node.verify import verify_events
from p2pwf.store import blobindex, events
from p2pwf.store.archive import Entry, Written, read_archive
from p2pwf.store.blobfiles import BLOB_MODE
from p2pwf.store.database import has_schema
from p2pwf.store.disk import disk_errors, sync_files, sync_folder
from p2pwf.store.events import Commit, EventStore

SPARE: Final = 64 * 1024 * 1024
"""Bytes that must stay free beside what is written: a node that cannot write ends."""
MANIFEST_KEYS: Final = {"backup", "made_by", "made_at", "peer_id", "network", "files"}


@attrs.frozen(slots=True)
class Contents:
    """What a backup was found to hold, all of it whole. `made_at`: ms since 1970."""

    made_at: int
    made_by: str
    files: dict[str, Written]


@attrs.frozen(slots=True)
class Restored:
    """`peer` works in the folder now; `former` made the backup. `others`: the members beside these two."""

    peer: PeerId
    former: PeerId
    network: str
    events: int
    blobs: int
    roles: tuple[str, ...]
    others: tuple[PeerId, ...]
    made_at: int


def open_backup(path: Path) -> BinaryIO:
    """The file of a backup, open to be read; raises NotFound, StorageError, or Refused if it is no plain file."""
    try:
        if not path.is_file() and path.exists():
            raise Refused(f"{path} is not a plain file", "restore reads it twice: store it first")
        return path.open("rb")
    except FileNotFoundError:
        raise NotFound(f"no backup {path}", "`p2pwf backup FILE` makes one") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}", "look at its owner and mode") from error


def check_backup(file: BinaryIO, progress: Progress) -> Contents:
    """Read a backup to its end, writing nothing; raises Refused if it is not whole, or holds what no backup holds."""
    files: dict[str, Written] = {}
    manifest: bytes | None = None
    for entry in read_archive(file):
        if manifest is not None:
            raise _odd("its manifest is not its end")
        limit = most_bytes(entry.name)
        if limit is None or entry.size > limit or entry.name in files or len(files) >= MAX_FILES:
            raise _odd(f"it has no place for {entry.name!r} of {entry.size} bytes")
        if entry.name == MANIFEST:
            manifest = b"".join(entry.chunks())
            continue
        files[entry.name] = found = _hashed(entry, progress)
        cid = blob_of(entry.name)
        if cid is not None and found.sha256 != cid[len(RAW_PREFIX) :].hex():
            raise _odd(f"{entry.name} does not hash to its name")
    if manifest is None:
        raise _odd("it has no manifest")
    return _contents(manifest, files)


def restore(
    file: BinaryIO, contents: Contents, folder: Path, *, same: bool | None, without: tuple[str, ...], progress: Progress
) -> Restored:
    """Make `folder` the data folder of the node that a checked backup is of, and say who works there now.

    `same`: keep its peer id; None: take another, unless nobody could admit that. `without`: members that the node
    does not wait for before it writes. Raises Refused, StorageError, UsageError; then nothing is there.
    """
    for peer in without:
        public_key_of(peer)
    target = folder.resolve()
    _check_target(target)
    size = sum(one.size for one in contents.files.values())
    aside: Path | None = None
    try:
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _check_room(target.parent, size)
            aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.restored-", dir=target.parent))
            _write(file, contents, aside, progress)
            made = _settle(aside, contents, same, without)
            _check_target(target)
            aside.rename(target)
            sync_folder(target.parent)
    except BaseException:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
        raise
    return made


def _check_room(folder: Path, size: int) -> None:
    if shutil.disk_usage(folder).free < size + SPARE:
        raise StorageError(f"no room in {folder} for {size} bytes", "make room there, or use another --data-dir")


def _odd(why: str) -> Refused:
    return Refused(f"this is no backup that can be restored: {why}", "nothing was written; take another copy of it")


def _hashed(entry: Entry, progress: Progress, out: BinaryIO | None = None) -> Written:
    digest = sha256()
    for chunk in entry.chunks():
        digest.update(chunk)
        progress(len(chunk))
        if out is not None:
            out.write(chunk)
    return Written(entry.size, digest.hexdigest())


def _contents(manifest: bytes, files: dict[str, Written]) -> Contents:
    try:
        read: Any = json.loads(manifest)
        version = read["backup"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _odd("its manifest is none") from None
    if not isinstance(version, int) or version < 1:
        raise _odd("its manifest is none")
    if version > FORMAT:
        raise Refused(
            f"this backup has format {version}, this p2pwf knows up to {FORMAT}", "a newer p2pwf made it: upgrade this"
        )
    if read.keys() != MANIFEST_KEYS or type(read["made_at"]) is not int or not isinstance(read["made_by"], str):
        raise _odd("its manifest is none")
    if read["files"] != {name: [one.size, one.sha256] for name, one in files.items()}:
        raise _odd("its files are not those that its manifest names")
    if not {IDENTITY, EVENTS} <= files.keys():
        raise _odd(f"{IDENTITY} or {EVENTS} is missing")
    return Contents(read["made_at"], read["made_by"], files)


def _check_target(target: Path) -> None:
    """Raise Refused or StorageError unless nothing is there, or an empty folder of this user."""
    try:
        if any(target.iterdir()):
            raise Refused(f"{target} is not empty", "restore into a new folder: --data-dir DIR")
        if target.stat().st_uid != os.geteuid():
            raise Refused(f"{target} belongs to another user", "restore into a new folder: --data-dir DIR")
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise Refused(f"{target} is not a folder, or lies below a file", "use another --data-dir") from None
    except OSError as error:
        raise StorageError(f"no access to {target}: {error.strerror}", "use another --data-dir") from error


def _write(file: BinaryIO, contents: Contents, aside: Path, progress: Progress) -> None:
    """Write the files of a backup below a new folder, durably; they have to be those that were checked."""
    file.seek(0)
    written: list[Path] = []
    for entry in read_archive(file):
        expected = contents.files.get(entry.name)
        if entry.name == MANIFEST:
            break
        if expected is None or entry.size != expected.size:
            raise _odd("it changed while it was read")
        path = aside / entry.name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = BLOB_MODE if blob_of(entry.name) is not None else 0o600
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as out:
            found = _hashed(entry, progress, out)
        if found != expected:
            raise _odd("it changed while it was read")
        written.append(path)
    if len(written) != len(contents.files):
        raise _odd("it changed while it was read")
    sync_files(written)
    sync_files(sorted({path.parent for path in written}), os.O_DIRECTORY)


def _settle(aside: Path, contents: Contents, same: bool | None, without: tuple[str, ...]) -> Restored:
    """Look at the events as at a stranger's, and make the folder that of the peer that is to work in it."""
    for name, form in ((EVENTS, events.FORMAT), (BLOB_INDEX, blobindex.FORMAT)):
        if name in contents.files and not has_schema(aside / name, form):
            raise _odd(f"{name} has other tables than ours")
    former = Signer(load(aside / IDENTITY)).peer_id
    with closing(EventStore.open(aside / EVENTS)) as store:
        meta = store.meta_all()
        network = Cid(meta.get(NETWORK, b""))
        if meta.get(PEER, former.encode()) != former.encode() or not is_cid(network) or network[:4] != DAG_CBOR_PREFIX:
            raise _odd("its key and its events are not of one node")
        clock = Clock(network)
        report = verify_events(store, clock)
        if not report["ok"]:
            first = cast("dict[str, str]", report["problems"][0])
            raise _odd(f"event {first['cid']}: {first['problem']}")
        members = clock.roster.members
        admins = {peer for peer, member in members.items() if member.can("admin")}
        if admins == {former} and same is None:
            raise Refused(
                f"{former} is the only admin that this backup knows, so nobody could admit another peer in its place",
                "--same-identity keeps its peer id, if that node is gone for good; "
                "--new-identity makes a new one, if there is another admin by now",
            )
        values: dict[str, bytes | None]
        if same:
            peer = former
            values = {RESTORED: restored_value(without)}
        else:
            with suppress(FileNotFoundError):
                (aside / IDENTITY).unlink()
            peer = Signer(load_or_create(aside / IDENTITY)).peer_id
            # A ticket names its issuer, which is another peer now.
            values = {name: None for name in meta if name.startswith(TICKET)}
            values |= {PEER: peer.encode(), RESTORED: None}
        store.commit(Commit((), values))
    own = members.get(former)
    return Restored(
        peer=peer,
        former=former,
        network=network.text,
        events=report["events"],
        blobs=sum(blob_of(name) is not None for name in contents.files),
        roles=() if own is None else tuple(role for role in ROLES if own.can(role)),
        others=tuple(sorted(members.keys() - {former})),
        made_at=contents.made_at,
    )
