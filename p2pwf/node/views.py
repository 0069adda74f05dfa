"""What the node tells its faces: JSON-able dicts from the engine's state. Shapes: protocols/control.md."""

from __future__ import annotations

from collections import Counter
from typing import Any

from p2pwf.core.dagjson import plain
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, PeerId, parse_cid, public_key_of
from p2pwf.engine import Engine
from p2pwf.errors import NotFound, P2pwfError, UsageError
from p2pwf.node.standing import is_removed
from p2pwf.runs import Run
from p2pwf.runs.run import Key
from p2pwf.runs.view import FINAL, detail, owners, status, summary, unowned

MIN_PREFIX = 4
"""Characters of a run's or peer's id that are looked for at the least: fewer would be an accident."""
MAX_NAMED = 8
"""Peers listed of those that a name may mean."""


def find_run(engine: Engine, name: str) -> Cid:
    """The run that a user names by its id or a unique part of its end or beginning.

    Raises NotFound, or UsageError for what names several.
    """
    desk = engine.desk
    wanted = name.strip().lower()
    try:
        exact = parse_cid(wanted)
    except UsageError:
        exact = None
    if exact is not None and (exact in desk.runs or exact in desk.cold):
        return exact
    if len(wanted) < MIN_PREFIX:
        raise UsageError(f"{name!r} is too short for a run's id", "give more of it: see `p2pwf workflow list`")
    every = [cid for runs in (desk.runs, desk.cold) for cid in runs]
    found = [cid for cid in every if (text := cid.text).startswith(wanted) or text.endswith(wanted)]
    if not found:
        raise NotFound(f"no run {name!r}", "see `p2pwf workflow list`")
    if len(found) > 1:
        raise UsageError(f"{len(found)} runs have an id like {name!r}", "give more of it: ids differ at their end")
    return found[0]


def find_peer(engine: Engine, name: str) -> PeerId:
    """The member, or asker, that a user names by its id, its name or a unique end of its id.

    Raises NotFound, or UsageError for what names several.
    """
    members, requests = engine.desk.roster.members, engine.membership.requests
    if name in members or name in requests:
        return PeerId(name)
    named = [member.peer for member in members.values() if member.name == name]
    return _only_one(name, named or _ending_in(name, {*members, *requests}))


def peer_to_add(engine: Engine, name: str) -> PeerId:
    """The peer that a user names to be admitted: any by its whole id, one that is known also by a unique end of it.

    Known are members, former ones and those who ask. Raises UsageError for what is no id, or the end of several.
    """
    desk = engine.desk
    known = {*engine.membership.requests, *desk.roster.members, *desk.roster.admissions, *desk.roster.cuts}
    found = _ending_in(name, known)
    if found:
        return _only_one(name, found)
    public_key_of(name)
    return PeerId(name)


def _ending_in(end: str, peers: set[PeerId]) -> list[PeerId]:
    return sorted(peer for peer in peers if peer.endswith(end)) if len(end) >= MIN_PREFIX else []


def _only_one(name: str, found: list[PeerId]) -> PeerId:
    if not found:
        raise NotFound(f"no peer {name!r}", "see `p2pwf peer list`")
    if len(found) > 1:
        every = ", ".join(found[:MAX_NAMED]) + (", …" if len(found) > MAX_NAMED else "")
        raise UsageError(f"{len(found)} peers are called {name!r}: {every}", "give the whole id of one")
    return found[0]


def run_status(engine: Engine, run: Run) -> dict[str, Any]:
    """One run with its jobs, of each also what it is `waiting` for: None, or in words."""
    view = detail(run, *_standing(engine, run))
    nobodys = set(unowned(run))
    for job in view["jobs"]:
        key = (job["job"], job["index"])
        waits = job["status"] == "queued" and bool(engine.desk.settings.secrets)
        job["waiting"] = waiting_for(engine, run, key) if waits or key in nobodys else None
    return view


def waiting_for(engine: Engine, run: Run, key: Key) -> str | None:
    """What a job waits for: None, or a peer that takes it, or which secrets its owner cannot open."""
    owner = run.owner(key)
    if run.tally.finish(key) is None and (owner is None or owner in run.tally.leg(key).refused()):
        return _taker(run, key)
    needs = run.plan.jobs[key[0]].needs
    if owner is None or run.tally.finish(key) is not None or any(run.tally.result(need) is None for need in needs):
        return None
    try:
        names = engine.sealing.unopened(run, key, owner)
    except P2pwfError:
        return None  # its owner says why it cannot be told
    if not names:
        return None
    what = f"the secret {names[0]} is" if len(names) == 1 else f"the secrets {', '.join(names)} are"
    return f"{what} not sealed to its peer yet: an admin's node that is up does that"


def _taker(run: Run, key: Key) -> str:
    """What a peer would have to be like to take a job that nobody runs."""
    refused = len(run.tally.leg(key).refused())
    if refused:
        return f"a peer whose policy takes it: {refused} {'refuses' if refused == 1 else 'refuse'}"
    labels = run.tally.leg_of(key).labels
    return f"a peer with the labels {', '.join(labels)}" if labels else "a peer that runs jobs"


def _standing(engine: Engine, run: Run) -> tuple[bool, bool]:
    """Whether a run is to be cancelled, and whether it waits for its concurrency group."""
    conductor = engine.conductor
    return conductor.judge.is_cancelled(run), run.tally.end is None and conductor.groups.run_waits(run)


def list_runs(engine: Engine, wanted: str | None, peer: str | None) -> list[dict[str, Any]]:
    """All runs, newest first, without jobs; `wanted`: a status; `peer`: owning at least one job."""
    desk = engine.desk
    found = [(summary(run, *_standing(engine, run)), owners(run)) for run in desk.runs.values()]
    for cid in desk.cold:
        row = desk.cold.row(cid)
        found.append((row, set(row.pop("owners"))))
    rows = [row for row, own in found if wanted in (None, row["status"]) and (peer is None or peer in own)]
    rows.sort(key=lambda row: (row["created_at"], row["workflow_id"]), reverse=True)
    return rows


def peers(engine: Engine) -> list[dict[str, Any]]:
    """The members: {peer_id, name, roles, labels, slots, connected, last_seen, self, load, version, addrs,
    clock_ahead}.

    `last_seen`: seconds since the peer was last heard, 0 for a connected one, None if not since this node started.
    `load`: jobs that run there, None for who is gone.
    `clock_ahead`: ms that its wall clock was ahead of this node's when they last met. A node that was removed shows
    itself among those that it knew, not connected and without roles.
    """
    desk, liveness = engine.desk, engine.liveness
    rows = []
    for member in desk.roster.members.values():
        me = member.peer == desk.me
        connected = me or member.peer in engine.syncer.connected
        seen = liveness.last_heard.get(member.peer)
        presence = liveness.presence.get(member.peer)
        rows.append(
            {
                "peer_id": member.peer,
                "name": member.name,
                "roles": sorted(member.roles),
                "labels": list(member.labels),
                "slots": member.slots,
                "connected": connected,
                "last_seen": 0.0 if connected else None if seen is None else round(desk.now.mono - seen, 1),
                "self": me,
                "load": liveness.load if me else presence.load if presence and liveness.is_alive(member.peer) else None,
                "version": desk.config.version if me else presence.version if presence else None,
                "addrs": [] if presence is None else list(presence.addresses),
                "clock_ahead": 0 if me else liveness.ahead.get(member.peer),
            }
        )
    if is_removed(engine):
        rows.append(_removed_self(engine))
    rows.sort(key=lambda row: (not row["self"], str(row["name"])))
    return rows


def _removed_self(engine: Engine) -> dict[str, Any]:
    """This node among the members that it knew, of which it is none any more: without roles."""
    desk = engine.desk
    return {
        "peer_id": desk.me,
        "name": next((add.name for add in reversed(desk.roster.admissions.get(desk.me, ()))), desk.me[-8:]),
        "roles": [],
        "labels": [],
        "slots": 0,
        "connected": False,
        "last_seen": None,
        "self": True,
        "load": engine.liveness.load,
        "version": desk.config.version,
        "addrs": [],
        "clock_ahead": 0,
    }


def pending_peers(engine: Engine) -> list[dict[str, Any]]:
    """Who asked to be admitted: {peer_id, name, labels, slots, roles (none), connected, last_seen}."""
    return [
        {
            "peer_id": request.peer,
            "name": request.name,
            "roles": [],
            "labels": list(request.labels),
            "slots": request.slots,
            "connected": False,
            "last_seen": None,
            "latency": None,
            "offences": 0,
            "banned_for": None,
        }
        for request in engine.membership.requests.values()
        if not engine.desk.roster.holds(request.peer, None)
    ]


def stats(engine: Engine) -> dict[str, Any]:
    """{peer_id, total_workflows, queue_size, peer_count, merkle_clock_height, status_counts, my_workflows, …}."""
    desk = engine.desk
    counts = Counter(status(run) for run in desk.runs.values())
    counts += desk.cold.counts
    mine = {run.id for run, _ in engine.conductor.held()}
    heads = desk.clock.dag.heads()
    return {
        "peer_id": desk.me,
        "total_workflows": len(desk.runs) + len(desk.cold),
        "queue_size": len(engine.conductor.work.ready),
        "running_jobs": len(engine.conductor.work.local),
        "peer_count": len(desk.roster.members),
        "connected_peers": len(engine.syncer.connected),
        "merkle_clock_height": max((head.lamport for head in heads), default=0),
        "events": len(desk.clock.dag),
        "heads": len(heads),
        "pending_events": len(engine.intake.pending),
        "dropped_pending": engine.intake.pending.dropped,
        "invalid_events": engine.intake.invalid,
        "later_events": engine.intake.later,
        "misbehaved": engine.misbehaved,
        "rounds_dropped": engine.syncer.dropped,
        "runs_not_conducted": engine.conductor.failures,
        "status_counts": {word: counts.get(word, 0) for word in ("pending", "assigned", "in_progress", *FINAL)},
        "my_workflows": len(mine),
        "secrets": secret_counts(engine),
    }


def secret_counts(engine: Engine) -> dict[str, int]:
    """{set, lacking: not sealed to all that should have them, rotate: open to who left}."""
    secrets = engine.desk.settings.secrets.values()
    return {
        "set": len(secrets),
        "lacking": sum(bool(engine.sealing.lacking(one)) for one in secrets),
        "rotate": sum(bool(engine.sealing.to_rotate(one)) for one in secrets),
    }


def heads(engine: Engine) -> list[dict[str, Any]]:
    """The heads of the clock: {cid, author, seq, lamport}."""
    return [
        {"cid": node.cid.text, "author": node.author, "seq": node.seq, "lamport": node.lamport}
        for node in engine.desk.clock.dag.heads()
    ]


def event_line(event: Event) -> dict[str, Any]:
    """An event as `clock log` prints it: {cid, author, seq, prev, parents, after, lamport, time, type, body, pruned};
    the body of a pruned one is what is left of it."""
    return {
        "cid": event.cid.text,
        "author": event.author,
        "seq": event.seq,
        "prev": None if event.prev is None else event.prev.text,
        "parents": [cid.text for cid in event.parents],
        "after": [cid.text for cid in event.after],
        "lamport": event.lamport,
        "time": event.time,
        "type": event.type,
        "body": plain(event.body),
        "pruned": event.pruned,
    }
