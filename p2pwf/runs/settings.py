"""The secrets and variables of a network: a function of the set of events and of which of them are void. Pure.

What is set under one name of one place (the network, or an environment) by the highest event in the order of
(lamport, id) stands; that is a later one wherever one knew the other. Secrets stay sealed here: this knows who has a
box, and opens none. Source: protocols/secrets.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, cast

import attrs

from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, PeerId

SECRETS: Final = "secret"
VARIABLES: Final = "var"

Slot = tuple["str | None", str]
"""An environment, None for the whole network, and a name in upper case."""


@attrs.frozen(slots=True)
class Asks:
    """What a job asks for, names in upper case; None: all that there are. `environment`: empty for none.

    `secrets` are those of the network that its file or its callers name, `own` what its own file names: what an
    environment has of these goes over the others.
    """

    environment: str = ""
    secrets: frozenset[str] | None = frozenset()
    own: frozenset[str] | None = frozenset()


class Settings:
    """`version` rises whenever any of it may be different. `is_void` tells of an event whether a cut has undone it."""

    def __init__(self, is_void: Callable[[Cid], bool]) -> None:
        self._is_void = is_void
        self._events: dict[str, dict[Slot, list[Event]]] = {SECRETS: {}, VARIABLES: {}}
        self._added: dict[Cid, list[tuple[Event, PeerId, bytes]]] = {}
        """Of each secret.set the boxes that others have added."""
        self._standing: dict[str, dict[Slot, Event]] = {}
        self._holders: dict[Cid, frozenset[PeerId]] = {}
        self.version = 0

    def take(self, event: Event) -> None:
        """Take in an event of SETTING_TYPES."""
        if event.type == "secret.seal":
            for entry in cast("list[dict[str, object]]", event.body["boxes"]):
                added = event, cast(PeerId, entry["peer"]), cast(bytes, entry["box"])
                self._added.setdefault(cast(Cid, entry["secret"]), []).append(added)
        else:
            kind = event.type.partition(".")[0]
            slot = cast("str | None", event.body["environment"]), cast(str, event.body["name"])
            self._events[kind].setdefault(slot, []).append(event)
        self.changed()

    def changed(self) -> None:
        """What is void may be another: work it all out anew when it is asked for."""
        self._standing.clear()
        self._holders.clear()
        self.version += 1

    @property
    def secrets(self) -> Mapping[Slot, Event]:
        """The secret.set that stands of each slot, in the order of the slots."""
        return self._stand(SECRETS)

    @property
    def variables(self) -> Mapping[Slot, Event]:
        """The var.set that stands of each slot, in the order of the slots."""
        return self._stand(VARIABLES)

    def _stand(self, kind: str) -> dict[Slot, Event]:
        found = self._standing.get(kind)
        if found is None:
            found = self._standing[kind] = {}
            slots = self._events[kind]
            for slot in sorted(slots, key=lambda slot: (slot[0] or "", slot[1])):
                counting = [event for event in slots[slot] if not self._is_void(event.cid)]
                last = max(counting, key=lambda event: event.order, default=None)
                if last is not None and last.type.endswith(".set"):
                    found[slot] = last
        return found

    def values(self, environment: str | None) -> dict[str, str]:
        """The variables of one place by name."""
        return {
            name: cast(str, event.body["value"]) for (of, name), event in self.variables.items() if of == environment
        }

    # -- boxes --------------------------------------------------------------------------------------------------

    def boxes(self, secret: Event, peer: PeerId) -> list[bytes]:
        """What is sealed to a peer of a secret, its author's word first: of several one at least opens, if they are
        honest."""
        first = cast("dict[str, bytes]", secret.body["boxes"]).get(peer)
        added = self._added.get(secret.cid, ())
        more = [box for event, of, box in added if of == peer and not self._is_void(event.cid)]
        return [*([] if first is None else [first]), *more]

    def holders(self, secret: Event) -> frozenset[PeerId]:
        """The peers that a secret is sealed to."""
        found = self._holders.get(secret.cid)
        if found is None:
            added = {of for event, of, _ in self._added.get(secret.cid, ()) if not self._is_void(event.cid)}
            first = cast("dict[PeerId, bytes]", secret.body["boxes"])
            found = self._holders[secret.cid] = frozenset({*first, *added})
        return found

    def asked(self, asks: Asks) -> dict[Slot, Event]:
        """The secrets that a job asks for, of those that there are."""
        found = {}
        for slot, event in self.secrets.items():
            environment, name = slot
            wanted = asks.secrets if environment is None else asks.own
            here = environment is None or environment == asks.environment
            if here and (wanted is None or name in wanted):
                found[slot] = event
        return found


def may_use(secret: Event, submitter: PeerId) -> bool:
    """Whether runs of this submitter get a secret: all do, unless it names whose."""
    named = cast("list[str]", secret.body["submitters"])
    return not named or submitter in named
