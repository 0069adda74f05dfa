"""What faces ask of a node, as values that both ends import. Light: no face pays for more than attrs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen(slots=True, kw_only=True)
class SubmitRequest:
    """A submission as a face sends it: `file` and `source_dir` are absolute paths on this machine.

    `payload`: the event's, None to have one made. `force`: also an untagged workflow. `key`: of two submissions with
    one key the network runs the first. `peer`: the peer, by id or name, that all jobs are to run on; `labels`: what
    every job asks of its peer beside its own `runs-on`.
    """

    file: str
    name: str | None = None
    priority: float = 3.0
    event: str | None = None
    payload: Mapping[str, Any] | None = None
    inputs: Mapping[str, Any] = attrs.field(factory=dict)
    peer: str | None = None
    labels: tuple[str, ...] = ()
    source_dir: str | None = None
    no_source: bool = False
    force: bool = False
    key: str | None = None
