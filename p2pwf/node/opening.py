"""What of the secrets and variables of the network one job gets from this node, and boxes for members that lack them.

Here alone values come out of their boxes: for a job that this node has started, in memory, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine import Engine
from p2pwf.engine.inputs import Sealed
from p2pwf.engine.outputs import Reseal
from p2pwf.errors import Refused
from p2pwf.node.boxes import open_key, open_value, seal_key
from p2pwf.runs import Run
from p2pwf.runs.run import Key


@attrs.frozen(slots=True, kw_only=True)
class Given:
    """What a job gets. `own_…`: of its environment, over all others. `kept`: of secrets that are not for its run."""

    secrets: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    own_secrets: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    own_vars: Mapping[str, str] = attrs.field(factory=dict)
    kept: tuple[str, ...] = ()


def for_job(engine: Engine, seed: bytes, run: Run, key: Key) -> Given:
    """What a job that this node has started gets, opened: the one place where values come out of their boxes.

    Raises Refused for what does not open, P2pwfError where it cannot be told what the job asks for. Which secrets those
    are is `Sealing.given`'s to say, also where a job waits for them or is refused for them.
    """
    asks = engine.sealing.asks(run, key)
    settings = engine.desk.settings
    found: dict[str | None, dict[str, str]] = {None: {}}
    for (environment, name), secret in engine.sealing.given(run, key).items():
        value = open_value(seed, secret, settings.boxes(secret, engine.desk.me))
        found.setdefault(environment, {})[name] = value
    own = found.get(asks.environment, {}) if asks.environment else {}
    return Given(
        secrets=found[None],
        own_secrets=own,
        own_vars=settings.values(asks.environment) if asks.environment else {},
        kept=tuple(engine.sealing.kept(run, key)),
    )


def reseal(seed: bytes, order: Reseal) -> Sealed:
    """The boxes that the engine asks for; none of a secret that does not open here. Blocks a little."""
    made: list[tuple[Cid, PeerId, bytes]] = []
    for secret, mine, peers in order.secrets:
        try:
            key = open_key(seed, secret, mine)
        except Refused:
            continue  # it stays among those that lack a box, and is asked for again
        boxes = ((peer, seal_key(key, peer)) for peer in peers)
        made += [(secret.cid, peer, box) for peer, box in boxes if box is not None]
    return Sealed(made)
