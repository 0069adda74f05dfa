"""Lay a source manifest out in a folder: what actions/checkout does, without a server.

Knows manifests; must not know where blobs come from (`fetch` brings them) or what the tree is for. How it is written
is `treewriter`'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from p2pwf.core.ids import Cid
from p2pwf.errors import P2pwfError
from p2pwf.runner.manifest import LINK, Manifest, blobs_of, parse
from p2pwf.runner.treewriter import links_last, make_root, read_manifest, write

if TYPE_CHECKING:
    from p2pwf.runner.hand import Hand

Fetch = Callable[[Cid], Awaitable[Path]]

FETCHES: Final = 8
"""Blobs asked for at a time: enough to hide the way to another peer, few enough to leave it room for others."""
FILES_AT_A_TIME: Final = 256
"""Files written between two looks at whether the job was cancelled: well under a second."""
FEW_FILES: Final = 16
FEW_BYTES: Final = 256 * 1024
"""Of a tree that is written faster than threads are asked to: on the event loop, in about a millisecond."""


async def layout(
    manifest: Cid,
    fetch: Fetch,
    dest: Path,
    wanted: Callable[[str], bool] | None = None,
    hand: Hand | None = None,
    into: Sequence[Path] = (),
) -> Manifest:
    """Make the tree that `manifest` names under `dest`, which is made if it is missing; returns what was laid out.

    `wanted` says for each path whether it is to be there; None: all. `hand`: of the job whose folder `dest` is, or
    which may write to `into` for this; None: nobody else can reach it. `fetch` gives a file that holds a blob, from
    here or from a peer. What stands in the way of a path is replaced; other files in `dest` stay. Raises ManifestError
    (a RemoteError) when the manifest breaks its rules: nothing is written then; StorageError when a blob is not what
    it must be or the disk refuses; and whatever `fetch` raises.
    """
    tree = await read_tree(manifest, fetch)
    if wanted is not None:
        tree = Manifest(tuple(file for file in tree.files if wanted(file.path)))
    held = await _fetch_all(blobs_of(tree), fetch)
    work: Callable[..., Awaitable[Any]] = trio.to_thread.run_sync
    few = len(tree.files) <= FEW_FILES and tree.bytes <= FEW_BYTES
    if hand is not None and hand.is_apart:
        work = partial(hand.run, rights="reads", into=into)  # what it reads are blobs, whose paths are ours
    elif few:
        make_root(dest)
        write(dest, links_last(tree.files), held)
        return tree
    await work(make_root, dest)
    # Files in order of their paths, so that a folder is opened once for most of its files; then the links.
    for part in (
        [file for file in tree.files if file.mode != LINK],
        [file for file in tree.files if file.mode == LINK],
    ):
        for start in range(0, len(part), FILES_AT_A_TIME):
            await work(write, dest, part[start : start + FILES_AT_A_TIME], held)
    return tree


async def read_tree(manifest: Cid, fetch: Fetch) -> Manifest:
    """What `manifest` names, fetched if need be. Raises as `layout` does; nothing is written."""
    return parse(await trio.to_thread.run_sync(read_manifest, await fetch(manifest), manifest))


async def _fetch_all(cids: Sequence[Cid], fetch: Fetch) -> Mapping[Cid, Path]:
    """The file of each blob; the first one that cannot be had ends the rest."""
    held: dict[Cid, Path] = {}
    failures: list[Exception] = []
    wanted = iter(cids)

    async def work() -> None:
        for cid in wanted:
            try:
                held[cid] = await fetch(cid)
            except (P2pwfError, OSError) as error:
                failures.append(error)
                nursery.cancel_scope.cancel()
                return

    async with trio.open_nursery() as nursery:
        for _ in range(min(FETCHES, len(cids))):
            nursery.start_soon(work)
    if failures:
        raise failures[0]
    return held
