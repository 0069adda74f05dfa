"""The pages state what the code does: constants, types, roles, messages."""

from __future__ import annotations

import re

import pytest

from p2pwf.cli import mcp as cli_mcp
from p2pwf.clock import messages, pending, sync
from p2pwf.core import bodies, dagcbor, events, sign, tickets
from p2pwf.engine import config, desk, sealing
from p2pwf.mcp import http, resources, schemas, server, token
from p2pwf.node import boxes, portable, taking
from p2pwf.runner import filecommands, report, values
from p2pwf.store import car
from tests.protocols.kit import ROOT


def page(name: str) -> str:
    return (ROOT / f"protocols/{name}.md").read_text(encoding="utf-8")


def row(name: str, first: str) -> str:
    """The line of a page's table that begins with a name."""
    found = [line for line in page(name).splitlines() if line.startswith(f"| {first} |")]
    assert len(found) == 1, (name, first)
    return found[0]


@pytest.mark.parametrize(
    ("name", "first", "values"),
    [
        ("archive", "version", [portable.VERSION]),
        ("archive", "header", [car.MAX_HEADER]),
        ("archive", "length", [car.MAX_VARINT]),
        ("archive", "own blocks", [taking.MAX_SMALL]),
        ("archive", "group", [1, portable.GROUP]),
        ("archive", "event", [events.MAX_EVENT]),
        ("archive", "blobs", [portable.MAX_BLOBS]),
        ("events", "version", [events.VERSION]),
        ("events", "block", [events.MAX_EVENT]),
        ("events", "nesting", [dagcbor.MAX_DEPTH]),
        ("events", "signature", [sign.SIGNATURE_LENGTH]),
        ("events", "domain", [sign.DOMAIN.rstrip(b"\0").decode(), len(sign.DOMAIN)]),
        ("events", "parents, after", [events.MAX_PARENTS, events.MAX_AFTER]),
        ("events", "seq", [f"2^{events.MAX_SEQ.bit_length() - 1}"]),
        ("events", "lamport", [f"2^{events.MAX_LAMPORT.bit_length() - 1}"]),
        ("events", "time", [f"2^{events.MAX_TIME.bit_length() - 1}"]),
        ("events", "type, name, label", [bodies.MAX_NAME]),
        ("events", "text", [bodies.MAX_TEXT]),
        ("events", "labels", [bodies.MAX_LABELS]),
        ("events", "slots", [bodies.MAX_SLOTS]),
        ("events", "jobs", [bodies.MAX_JOBS]),
        ("events", "legs", [bodies.MAX_MATRIX, bodies.MAX_LEGS]),
        ("events", "attempts", [bodies.MAX_ATTEMPTS]),
        ("events", "peers in a list", [bodies.MAX_PEERS]),
        ("events", "plan", [bodies.MAX_PLAN]),
        ("events", "workflow", [bodies.MAX_WORKFLOW]),
        ("events", "payload, inputs, vars", [bodies.MAX_PAYLOAD]),
        ("events", "outputs of a job", [bodies.MAX_OUTPUTS]),
        ("events", "secrets, variables", [bodies.MAX_VALUE, bodies.MAX_BOXES, bodies.MAX_VALUE + bodies.SEALED_OVER]),
        ("secrets", "domain", [boxes.DOMAIN]),
        ("secrets", "key", [boxes.KEY]),
        ("secrets", "nonce", [boxes.NONCE]),
        ("secrets", "padding", [boxes.BLOCK]),
        ("secrets", "box", [bodies.BOX]),
        ("secrets", "of a network", [sealing.MAX_SETTINGS]),
        ("secrets", "turn", [config.STAGGER]),
        ("secrets", "again", [sealing.AGAIN]),
        ("tickets", "prefix", [tickets.PREFIX]),
        ("tickets", "whole", [tickets.MAX_TICKET]),
        ("tickets", "addresses", [tickets.MAX_ADDRESSES]),
        ("tickets", "secret", [tickets.SECRET_LENGTH]),
        ("tickets", "pre-shared key", [tickets.PSK_LENGTH]),
        ("clock", "stream", [messages.PROTOCOL]),
        ("clock", "message", [messages.MAX_FRAME]),
        ("clock", "tag", [messages.TAG_LENGTH]),
        ("clock", "authors in a frontier", [messages.MAX_AUTHORS]),
        ("clock", "tips of one author", [messages.MAX_TIPS]),
        ("clock", "ids, events, attempts in a message", [messages.MAX_IDS, messages.MAX_HELD]),
        ("clock", "addresses of a peer", [messages.MAX_ADDRESSES]),
        ("clock", "peers told", [messages.MAX_PEERS]),
        ("clock", "digest", [config.DIGEST_EVERY]),
        ("clock", "want", [config.MAX_WANT, pending.ASK_AGAIN]),
        ("clock", "events in a message", [desk.GOSSIP_BYTES]),
        ("clock", "resend below an unknown tip", [sync.FORK_REACH]),
        ("clock", "beat", [config.BEAT]),
        ("clock", "presence", [config.PRESENCE_EVERY]),
        ("reports", "version", [report.VERSION]),
        ("reports", "report", [report.MAX_REPORT]),
        ("reports", "steps, annotations", [report.MAX_STEPS]),
        ("reports", "id, name", [report.MAX_NAME]),
        ("reports", "summary", [filecommands.MAX_BYTES]),
        ("reports", "annotations", [values.MAX_ANNOTATIONS]),
        ("mcp", "default address", [cli_mcp.HTTP]),
        ("mcp", "path", [http.PATH]),
        ("mcp", "largest body", [http.MAX_BODY]),
        ("mcp", "connections", [http.MAX_CONNECTIONS]),
        ("mcp", "calls", [server.MAX_RUNNING, server.MAX_WAITING]),
        ("mcp", "workflows", [server.MAX_ROWS]),
        ("mcp", "log", [resources.MAX_LOG]),
        ("mcp", "artifact", [resources.MAX_FILES, resources.MAX_CONTENT]),
        ("mcp", "listed", [resources.RECENT_RUNS, resources.RECENT_ARTIFACTS]),
        ("mcp", "token", [token.TOKEN_BYTES]),
        ("runs", "attempts", [bodies.MAX_ATTEMPTS]),
        ("runs", "lease", [config.LEASE]),
        ("runs", "beat", [config.BEAT]),
        ("runs", "stagger", [config.STAGGER]),
        ("runs", "probe", [config.PROBE_LEAD]),
        ("runs", "watchers", [config.WATCHERS]),
        ("runs", "gap", [config.WAKE_GAP, config.TICK]),
        ("runs", "resume", [config.RESUME_WAIT]),
        ("runs", "receipt", [config.RECEIPT_WAIT * 1000]),
    ],
)
def test_a_constant_is_what_the_page_says(name: str, first: str, values: list[object]) -> None:
    words = [word.strip(",;)") for word in re.split(r"[\s|`(]+", row(name, first))]
    for value in values:
        text = f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
        assert text in words, (text, words)


def test_the_pool_of_pended_events_is_as_the_page_says() -> None:
    text = page("events")
    assert f"{pending.MAX_PENDING:,} events and {pending.MAX_PENDING_BYTES >> 20} MiB" in text
    sender = f"{pending.MAX_PER_SENDER:,} events and {pending.MAX_SENDER_BYTES >> 20} MiB from one peer"
    assert sender in text
    assert f"{pending.KEPT:g} s" in text


@pytest.mark.parametrize("kind", list(bodies.FORMS))
def test_the_table_of_types_has_the_role_and_the_fields_of_each(kind: str) -> None:
    line = row("events", f"`{kind}`")
    role = line.split("|")[-2].strip().split(";")[0]
    assert role == {"net.genesis": "none"}.get(kind, bodies.ROLE_FOR.get(kind, "any"))
    if kind != "run.submit":
        text = line.replace("attempt of", "`run` `job` `leg` `attempt`")
        assert all(f"`{field}`" in text for field in bodies.FORMS[kind])


def test_the_page_has_every_field_of_a_submission() -> None:
    text = page("events").partition("    run.submit\n")[2].partition("A type that is not")[0]
    for field in (*bodies.FORMS["run.submit"], *bodies.JOB, *bodies.LEG):
        assert re.search(rf"\b{field}\b", text), field


def test_the_page_has_every_message() -> None:
    for kind in messages.Message.__args__:
        assert row("clock", f"`{kind.__name__.lower()}`")


def test_the_topic_is_named_by_the_network() -> None:
    assert "p2pwf/2/" in row("clock", "topic")
    assert '"p2pwf/2/{' in (ROOT / "p2pwf/node/node.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", list(schemas.SPECS))
def test_the_table_of_tools_has_what_each_takes_and_gives(name: str) -> None:
    takes, gives = (
        set(cell.strip().replace("?", "").split(", ")) - {""} for cell in row("mcp", f"`{name}`").split("|")[2:4]
    )
    assert takes == set(schemas.SPECS[name].takes["properties"])
    assert gives == set(schemas.SPECS[name].gives["anyOf"][0]["required"])


@pytest.mark.parametrize("name", [path.stem for path in (ROOT / "protocols").glob("*.md")])
def test_the_index_and_the_links_of_the_pages_hold(name: str) -> None:
    assert name == "README" or f"({name}.md)" in page("README")
    for target in re.findall(r"\]\(([^)#]+)\)", page(name)):
        assert (ROOT / "protocols" / target).exists(), target
