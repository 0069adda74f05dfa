"""Stubs: what is left of an event about a run whose body was pruned. Knows forms and bytes, and no rule.

A stub says where the event stands in the DAG, under the id of the whole, and what lists show of its run. It does not
hash to that id and carries no signature: it is believed only as part of what an admin's checkpoint names by hash.
Source: protocols/checkpoint.md.
"""

from __future__ import annotations

from typing import Final, cast

from p2pwf.core import forms
from p2pwf.core.bodies import CONCLUSIONS, MAX_LABELS, MAX_NAME, MAX_TEXT, RUN_TYPES
from p2pwf.core.dagcbor import DagCborError, Value, decode, encode
from p2pwf.core.events import MAX_AFTER, MAX_LAMPORT, MAX_PARENTS, MAX_SEQ, MAX_TIME, Event, EventError, SignedBlock
from p2pwf.core.ids import Cid, PeerId

MAX_STUB: Final = 131_072
"""Bytes: a submission's name, title, path, ref and tags at their bounds, in four bytes a character."""
_NAME: Final = forms.text(MAX_NAME, 1)
_KEPT: Final[dict[str, forms.Form]] = {
    "run.submit": {
        "name": _NAME,
        "event": _NAME,
        "key": forms.optional(_NAME),
        "title": forms.text(MAX_TEXT),
        "path": forms.text(MAX_TEXT),
        "ref": forms.text(MAX_TEXT),
        "sha": forms.text(MAX_NAME),
        "priority": forms.number,
        "tags": forms.list_of(_NAME, MAX_LABELS),
    },
    "run.end": {"conclusion": forms.one_of(*CONCLUSIONS), "counts": forms.boolean},
}
"""Of each type what stays of its body; of the others nothing does."""
_FORM: Final[forms.Form] = {
    "cid": forms.link,
    "author": forms.peer,
    "seq": forms.integer(0, MAX_SEQ),
    "prev": forms.optional(forms.link),
    "parents": forms.list_of(forms.link, MAX_PARENTS, 1),
    "after": forms.list_of(forms.link, MAX_AFTER),
    "lamport": forms.integer(1, MAX_LAMPORT),
    "time": forms.integer(0, MAX_TIME),
    "type": forms.one_of("run.submit", *sorted(RUN_TYPES)),
    "run": forms.link,
    "kept": forms.mapping,
}


def stub_of(event: Event, counts: bool = False) -> bytes:
    """The stub of an event about a run. `counts`: whether it does as an end of it, by its own past, cuts aside."""
    if event.pruned:
        return event.signed.block
    kept = {name: event.body[name] for name in _KEPT.get(event.type, ()) if name != "counts"}
    if event.type == "run.end":
        kept["counts"] = counts
    return encode(
        {
            "cid": event.cid,
            "author": event.author,
            "seq": event.seq,
            "prev": event.prev,
            "parents": event.parents,
            "after": event.after,
            "lamport": event.lamport,
            "time": event.time,
            "type": event.type,
            "run": event.run,
            "kept": kept,
        }
    )


def read_stub(block: bytes, network: Cid) -> Event:
    """The event of which `block` is the stub: its body is what was kept, its signature empty; raises EventError."""
    try:
        value = decode(block, MAX_STUB)
    except DagCborError as error:
        raise EventError(str(error)) from error
    if not isinstance(value, dict) or not forms.has_form(value, _FORM):
        raise EventError("no stub of an event")
    kind, kept, run = cast(str, value["type"]), cast("dict[str, Value]", value["kept"]), cast(Cid, value["run"])
    cid, prev = cast(Cid, value["cid"]), cast("Cid | None", value["prev"])
    if not forms.has_form(kept, _KEPT.get(kind, {})):
        raise EventError(f"what a stub keeps of {kind} is something else")
    if (kind == "run.submit") != (run == cid) or (prev is None) != (value["seq"] == 0):
        raise EventError("a stub that contradicts itself")
    return Event(
        cid,
        network,
        PeerId(cast(str, value["author"])),
        cast(int, value["seq"]),
        prev,
        tuple(cast("list[Cid]", value["parents"])),
        tuple(cast("list[Cid]", value["after"])),
        cast(int, value["lamport"]),
        cast(int, value["time"]),
        kind,
        kept if kind == "run.submit" else {**kept, "run": run},
        SignedBlock(block, b""),
    )
