"""The levels of isolation that work on this machine, for commands that tell of them: tried, as a node would."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pwf.isolation import Level
    from p2pwf.runner.isolation.probe import Probe


def try_levels(folder: Path) -> dict[Level, Probe]:
    """What comes of trying each level as this user, with the settings of the data folder `folder` and in it, if it can
    be written to; blocks for some 100 ms, with level container for a second or two. Raises UsageError."""
    import trio

    from p2pwf.config import node_settings
    from p2pwf.runner.isolation.keeper import Keeper
    from p2pwf.runner.isolation.probe import probe_all
    from p2pwf.runner.processes import open_spawner

    async def look(work: Path) -> dict[Level, Probe]:
        keeper = Keeper(work, image=node_settings(folder, {}).isolation_image)
        try:
            async with open_spawner() as spawner:
                return await probe_all(keeper, spawner)
        finally:
            keeper.close()

    work = folder / "work"
    with tempfile.TemporaryDirectory() as other:
        return trio.run(look, work if os.access(work, os.W_OK) else Path(other) / "work")
