"""The shell performs what the engine says on real parts."""

from __future__ import annotations

from pathlib import Path

import trio

from p2pwf.core.ids import PeerId
from p2pwf.engine.outputs import Learned, Output
from p2pwf.node.shell import NodeShell
from p2pwf.store.blobs import BlobStore
from p2pwf.store.events import EventStore
from tests.kit import signer


async def test_the_addresses_that_a_batch_brings_are_kept_in_one_commit_and_known_after_a_restart(
    tmp_path: Path,
) -> None:
    store = EventStore.open(tmp_path / "events.db")
    blobs = BlobStore(tmp_path / "blobs", 10**6)
    peers = [PeerId(f"peer{number}") for number in range(300)]
    async with trio.open_nursery() as nursery:
        shell = NodeShell(store, blobs, nursery, signer(1).peer_id)
        batch: list[Output] = [Learned(peer, (f"/ip4/127.0.0.1/tcp/{at + 1}",)) for at, peer in enumerate(peers)]
        before = store.statistics()["commits"]
        await shell.perform(batch)
        await shell.perform(batch)  # nothing new
        assert store.statistics()["commits"] == before + 1
        again = NodeShell(store, blobs, nursery, signer(1).peer_id)
        again.load_addresses(store.meta_all())
        assert again.addresses == shell.addresses
        assert len(again.addresses) == 300
    blobs.close()
    store.close()
