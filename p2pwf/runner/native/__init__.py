"""Actions that the runner does itself, whatever version of them a workflow names.

Source of the inputs' and outputs' meaning: the public documentation of each action. None of them asks a server:
sources, artifacts and caches are blobs, tools are those of the machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from p2pwf.runner.native import cache, checkout, download, node, python, upload
from p2pwf.runner.native.context import NativeAction, NativeContext

__all__ = ["NativeAction", "NativeContext", "find"]

ACTIONS: Final[Mapping[str, NativeAction]] = {
    "actions/checkout": checkout.ACTION,
    "actions/upload-artifact": upload.ACTION,
    "actions/download-artifact": download.ACTION,
    "actions/cache": cache.BOTH,
    "actions/cache/restore": cache.RESTORE,
    "actions/cache/save": cache.SAVE,
    "actions/setup-python": python.ACTION,
    "actions/setup-node": node.ACTION,
}
_USES: Final = re.compile(r"([^@]+)@.+", re.DOTALL)


def find(uses: str) -> NativeAction | None:
    """The action that a `uses` names if the runner does it itself."""
    match = _USES.fullmatch(uses.strip())
    return ACTIONS.get(match[1].rstrip("/").lower()) if match else None
