"""`p2pwf policy`: what this machine runs for whom, and what it would do with the jobs of a file.

Only `reload` needs a node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pwf.cli.base import LazyGroup, Session, anywhere, complete_files
from p2pwf.cli.check import STDIN, judge, source_root
from p2pwf.cli.levels import try_levels
from p2pwf.cli.text import clean, dim, style, table
from p2pwf.errors import InvalidWorkflow, NoNode, Refused, UsageError
from p2pwf.places import data_dir

if TYPE_CHECKING:
    from p2pwf.isolation import Level
    from p2pwf.policy import Policy, Submitter
    from p2pwf.workflow import Flow, Workflow

_HERE = "p2pwf.cli.policy"
_COMMANDS = {
    "show": (f"{_HERE}:show", "Show the rules that hold on this machine."),
    "reload": (f"{_HERE}:reload", "Let a node that runs read its rules anew."),
    "check": (f"{_HERE}:check", "Say what this machine would do with the jobs of a file."),
}
SUBMIT = frozenset({"submit"})
"""The roles that somebody is taken to have whom no node here knows: without this one nothing of theirs gets here."""


@click.group(cls=LazyGroup, lazy=_COMMANDS)
@anywhere
def policy() -> None:
    """Show what this machine runs for whom, and on what terms.

    Its rules are the table [policy] of config.toml in the data folder; a node reads them when it starts, and when
    `p2pwf policy reload` says so.
    """


@click.command()
@anywhere
@click.pass_obj
def show(session: Session) -> None:
    """Show the rules that hold on this machine, in order, and where they come from.

    \b
      p2pwf policy show
    """
    held, levels = _policy(session)
    told = {
        "origin": held.origin,
        "available": [level.name for level in sorted(levels)],
        "names": {name: sorted(peers) for name, peers in held.names.items()},
        "rules": [rule.to_json() for rule in held.rules],
    }
    session.answer(told, _draw_rules)


@click.command()
@anywhere
@click.pass_obj
def reload(session: Session) -> None:
    """Let the node that runs here read its rules anew, without a stop.

    What has not started is judged by the new rules; what runs goes on, and what was refused stays so. Rules that
    cannot be read change nothing.

    \b
      p2pwf policy reload
    """
    made = session.client.call("POST", "policy", "reload")
    count = len(made["rules"])
    session.answer(
        made, lambda _: click.echo(f"{count} rule{'' if count == 1 else 's'} of {clean(made['origin'])} hold")
    )


@click.command()
@click.argument("file", metavar="FILE", shell_complete=complete_files)
@click.option("--submitter", metavar="PEER", help="As if this member had submitted it; else it is one's own.")
@click.option("--label", "labels", metavar="LABEL", multiple=True, help="As if each job asked for this label, too.")
@anywhere
@click.pass_obj
def check(session: Session, file: str, submitter: str | None, labels: tuple[str, ...]) -> int:
    """Say what this machine would do with each job of a workflow file, and why; exits with 5 if it refuses one.

    PEER is a peer id, a name of [policy.names], or a member's name if a node runs here. It is about this machine's
    rules alone: not about who the job is given to, nor about the labels that this machine offers.

    \b
      p2pwf policy check ci.yml
      p2pwf policy check ci.yml --submitter 12D3KooWQhQZ8yTSm5UkKkkwWnWnEKkr7FqGvYsxWXdS6n1LGXrC
    """
    from p2pwf.node.policing import hashes_of
    from p2pwf.policy import Facts
    from p2pwf.policy import judge as decide

    held, levels = _policy(session)
    who = _submitter(session, held, submitter)
    workflow, text = _parsed(file)
    root = source_root(file)
    path = workflow.path if file == STDIN else _inside(root, Path(file).absolute())
    called = _called(workflow, root)
    names = (workflow.name or path, path)
    rows: list[dict[str, Any]] = []
    for job, asked, secrets, containers in _jobs(_flow(workflow, path, called)):
        wanted = sorted({*asked, *(label.lower() for label in labels)})
        facts = Facts(
            submitters=(who,),
            names=names,
            hashes=hashes_of(text, called),
            labels=tuple(wanted),
            secrets=secrets,
            containers=containers,
        )
        verdict = decide(held, facts, levels)
        named = None if secrets is None else sorted(secrets)
        rows.append({"job": job, "labels": wanted, "secrets": named, **verdict.to_json()})
    allowed = all(row["allowed"] for row in rows)
    told = {"file": file, "submitter": who.peer or "own", "origin": held.origin, "allowed": allowed, "jobs": rows}
    session.answer(told, _draw_verdicts)
    return 0 if allowed else Refused.exit_code


# -- reading --------------------------------------------------------------------------------------------------------


def _policy(session: Session) -> tuple[Policy, frozenset[Level]]:
    """The policy that a node here would start with, and the levels that it could keep."""
    from p2pwf.config import node_settings
    from p2pwf.node.policing import read_policy
    from p2pwf.runner.isolation.probe import levels

    folder = data_dir(session.given)
    return read_policy(node_settings(folder, {})), levels(try_levels(folder))


def _submitter(session: Session, held: Policy, given: str | None) -> Submitter:
    """Who is meant, with the roles that a node here knows of; raises UsageError for nobody."""
    from p2pwf.core.ids import PeerId
    from p2pwf.policy import OWN, Submitter

    if given is None or given == OWN:
        return Submitter(PeerId(""), own=True, roles=SUBMIT)
    members: list[dict[str, Any]] = []
    with suppress(NoNode):  # then what the policy says itself has to do
        members = session.client.call("GET", "peers")
    peers = held.names.get(given) or {one["peer_id"] for one in members if given in (one["peer_id"], one["name"])}
    if len(peers) > 1:
        raise UsageError(f"{given!r} stands for {len(peers)} peers", "give the id of one: see `p2pwf policy show`")
    peer = next(iter(peers), PeerId(given))
    known = next((one for one in members if one["peer_id"] == peer), None)
    if known is None and not peers:
        from p2pwf.core.ids import public_key_of

        public_key_of(peer)
    roles = SUBMIT if known is None else frozenset(known["roles"])
    return Submitter(peer, own=bool(known and known["self"]), roles=roles)


def _parsed(file: str) -> tuple[Workflow, str]:
    from p2pwf.workflow import parse

    text, findings = judge(file)
    if findings and findings[0].code == "unreadable":
        raise UsageError(f"{file}: {findings[0].message}", findings[0].hint)
    try:
        return parse(text, "stdin" if file == STDIN else file).require(), text
    except InvalidWorkflow as error:
        raise InvalidWorkflow(error.message, f"see `p2pwf check {file}`", error.diagnostics) from error


def _inside(root: Path, file: Path) -> str:
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name


def _called(workflow: Workflow, root: Path) -> dict[str, str]:
    """The texts of the workflows of this source that one calls; those of other repositories are not looked for."""
    from p2pwf.workflow import calls_of, parse
    from p2pwf.workflow.calls import MAX_CALLED
    from p2pwf.workflow.yaml import MAX_BYTES

    found: dict[str, str] = {}
    pending = [(workflow, "")]
    while pending:
        caller, inside = pending.pop()
        for job, key in calls_of(caller, inside):
            if key in found or len(found) > MAX_CALLED:
                continue  # too many are told of when they are laid out
            if "@" in key:
                message = f"the job {job.id!r} calls {job.uses!r}, which is found when it is submitted"
                raise UsageError(message, "check the called file by itself")
            try:
                with (root / key).open("rb") as stream:
                    found[key] = stream.read(MAX_BYTES + 1).decode("utf-8", "replace")
            except (OSError, ValueError):
                raise UsageError(f"the job {job.id!r} calls {job.uses!r}: not in {root}", None) from None
            inner = parse(found[key], key).workflow
            if inner is not None:
                pending.append((inner, key))
    return found


def _flow(workflow: Workflow, path: str, called: dict[str, str]) -> Flow:
    from p2pwf.workflow import DISPATCH, Flow, RunFacts, declared_events

    event = next(iter(declared_events(workflow)), DISPATCH)
    return Flow(workflow, RunFacts(event=event, workflow_name=workflow.name or path, workflow_path=path), called)


def _jobs(flow: Flow) -> Iterator[tuple[str, tuple[str, ...], frozenset[str] | None, bool]]:
    """Of each job that runs something: its id, the labels of one leg, the secrets, whether it has containers; each that
    differs once."""
    from p2pwf.workflow.asks import has_containers, secrets_of

    for job, planned in flow.layout.jobs.items():
        if planned.calls:
            continue
        secrets, _ = secrets_of(flow, job)
        try:
            legs = [] if flow.is_dynamic(job) else flow.expand(job, {})
        except InvalidWorkflow:
            legs = []  # it takes inputs to tell
        every = dict.fromkeys(tuple(sorted(map(str, leg["labels"]))) for leg in legs)  # type: ignore[arg-type]
        for labels in every or {(): None}:
            yield job, labels, secrets, has_containers(flow, job)


# -- drawing --------------------------------------------------------------------------------------------------------


def _words(entries: Sequence[str]) -> str:
    return "any" if list(entries) == ["*"] else clean(", ".join(entries)) or "none"


def _counted(rules: Sequence[object]) -> str:
    return "1 rule now holds," if len(rules) == 1 else f"{len(rules)} rules hold now,"


def _draw_rules(told: dict[str, Any]) -> None:
    for name, peers in told["names"].items():
        click.echo(f"{clean(name)} is {', '.join(peers)}")
    rows = [
        (
            rule["place"],
            _words(rule["from"]),
            _words(rule["workflows"]),
            _words(rule["labels"]),
            _words(rule["secrets"]),
            f"{rule['isolation']}{'' if rule['prefer'] == 'least' else ' or better'}",
            "yes" if rule["network"] else "no",
        )
        for rule in told["rules"]
    ]
    table(("RULE", "FROM", "WORKFLOWS", "LABELS", "SECRETS", "ISOLATION", "NETWORK"), rows, flexible=2)
    click.echo(dim(f"\nThe first rule that fits decides; what fits none is refused. From: {clean(told['origin'])}."))
    click.echo(dim(f"Isolation that this machine can keep: {', '.join(told['available'])}."))


def _draw_verdicts(told: dict[str, Any]) -> None:
    rows = []
    for row in told["jobs"]:
        terms = f"runs, isolation {row['level']}{'' if row['network'] else ', no network'}"
        word = style(terms, "green") if row["allowed"] else style("refused", "red")
        rows.append((clean(row["job"]), _words(row["labels"]) if row["labels"] else "-", word, clean(row["reason"])))
    table(("JOB", "LABELS", "HERE", "WHY"), rows, flexible=3)
