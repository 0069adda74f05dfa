"""Which events start a workflow: patterns one by one, then filters together, then schedules and titles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from p2pwf.errors import InvalidWorkflow, UsageError
from p2pwf.workflow import RunFacts, Workflow, is_triggered, next_ticks, parse, selects, title_of
from p2pwf.workflow.filters import pattern_fault

JOBS = "jobs: {a: {runs-on: x, steps: [{run: x}]}}\n"


def flow(text: str) -> Workflow:
    return parse(text + "\n" + JOBS, "dir/ci.yml").require()


@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"),
    [
        ("main", ["main"], ["Main", "main2", "a/main", ""]),
        ("*", ["main", "a-b.c", ""], ["a/b"]),
        ("**", ["main", "a/b/c", ""], []),
        ("feature/*", ["feature/a", "feature/"], ["feature/a/b", "feature"]),
        ("feature/**", ["feature/a", "feature/a/b"], ["feature", "features/a"]),
        ("*feature", ["my-feature", "feature"], ["feature-2", "a/feature"]),
        ("v2*", ["v2", "v2.0", "v2.9-x"], ["v1", "v2/x"]),
        ("v[12].[0-9]+.[0-9]+", ["v1.10.1", "v2.0.0"], ["v3.1.1", "v1.1", "v1.1.x", "v1..1"]),
        ("*.jsx?", ["page.js", "page.jsx"], ["page.jsxx", "a/page.js"]),
        ("**.js", ["index.js", "js/index.js", "src/js/app.js"], ["index.jsx"]),
        ("docs/*", ["docs/a.md"], ["docs/a/b.md"]),
        ("docs/**/*.md", ["docs/a.md", "docs/b/c/a.md"], ["docs.md", "docs/a.txt"]),
        ("**/docs/**", ["docs/a.md", "dir/docs/a.md", "a/b/docs/c/d"], ["docs", "mydocs/a"]),
        ("**/README.md", ["README.md", "js/README.md"], ["READMEXmd", "xREADME.md"]),
        ("**/*src/**", ["a/src/app.js", "my-src/code/js/app.js"], ["src"]),
        ("**/migrate-*.sql", ["migrate-10909.sql", "db/sept/migrate-v1.0.sql"], ["migrate.sql"]),
        ("a/**b", ["a/b", "a/x/yb"], ["ab", "b"]),
        ("a**/b", ["a/b", "ax/y/b"], ["ab"]),
        ("ab+c", ["abc", "abbbc"], ["ac"]),
        ("ab?c", ["ac", "abc"], ["abbc"]),
        ("[a-c-]x", ["ax", "cx", "-x"], ["dx", "bbx"]),
        ("[0-9]?x", ["x", "5x"], ["55x"]),
        (r"a\*b\?", ["a*b?"], ["axb", "a*b"]),
        (r"\!a", ["!a"], ["a"]),
        ("a.b", ["a.b"], ["axb"]),
        ("é*", ["éa"], ["e"]),
    ],
)
def test_pattern_fits(pattern: str, fits: list[str], fits_not: list[str]) -> None:
    assert [name for name in fits if not selects([pattern], name)] == []
    assert [name for name in fits_not if selects([pattern], name)] == []
    assert pattern_fault(pattern) is None


@pytest.mark.parametrize("pattern", ["?", "+a", "*+", "[", "[]", "[z-a]", "a\\", "x" * 1025, "a??"])
def test_pattern_without_meaning_is_told_and_fits_nothing(pattern: str) -> None:
    assert pattern_fault(pattern)
    assert not selects([pattern], pattern)


@pytest.mark.parametrize(
    ("patterns", "name", "selected"),
    [
        (["releases/**", "!releases/**-alpha"], "releases/10", True),
        (["releases/**", "!releases/**-alpha"], "releases/10-alpha", False),
        (["releases/**", "!releases/**-alpha", "releases/11-alpha"], "releases/11-alpha", True),
        (["!a", "a"], "a", True),
        (["a", "!a"], "a", False),
        (["!a"], "b", False),
        ([], "a", False),
    ],
)
def test_last_pattern_that_fits_decides(patterns: list[str], name: str, selected: bool) -> None:
    assert selects(patterns, name) is selected


PUSH = "on: {push: {branches: ['main', 'rel/**', '!rel/old']}}"


@pytest.mark.parametrize(
    ("on", "ref", "changed", "starts"),
    [
        ("on: push", "refs/heads/x", None, True),
        ("on: push", "refs/tags/v1", None, True),
        ("on: issues", "refs/heads/x", None, False),
        (PUSH, "refs/heads/main", None, True),
        (PUSH, "refs/heads/rel/1", None, True),
        (PUSH, "refs/heads/rel/old", None, False),
        (PUSH, "refs/heads/other", None, False),
        (PUSH, "refs/tags/main", None, False),
        ("on: {push: {branches-ignore: [wip, 'x/**']}}", "refs/heads/main", None, True),
        ("on: {push: {branches-ignore: [wip, 'x/**']}}", "refs/heads/x/y", None, False),
        ("on: {push: {tags: ['v*', '!v0*']}}", "refs/tags/v1", None, True),
        ("on: {push: {tags: ['v*', '!v0*']}}", "refs/tags/v0.1", None, False),
        ("on: {push: {tags: ['v*', '!v0*']}}", "refs/heads/v1", None, False),
        ("on: {push: {tags: [v1], branches: [main]}}", "refs/heads/main", None, True),
        ("on: {push: {tags: [v1], branches: [main]}}", "refs/tags/v1", None, True),
        ("on: {push: {tags-ignore: [v1]}}", "refs/tags/v1", None, False),
        ("on: {push: {paths: ['src/**', '!**.md']}}", "refs/heads/x", ["src/a.md"], False),
        ("on: {push: {paths: ['src/**', '!**.md']}}", "refs/heads/x", ["src/a.md", "src/a.py"], True),
        ("on: {push: {paths: ['src/**']}}", "refs/heads/x", [], False),
        ("on: {push: {paths: ['src/**']}}", "refs/heads/x", None, True),
        ("on: {push: {paths: ['src/**']}}", "refs/tags/v1", ["doc"], True),
        ("on: {push: {paths-ignore: ['**.md']}}", "refs/heads/x", ["a.md", "b/c.md"], False),
        ("on: {push: {paths-ignore: ['**.md']}}", "refs/heads/x", ["a.md", "b.py"], True),
        ("on: {push: {branches: [main], paths: ['**.py']}}", "refs/heads/dev", ["a.py"], False),
    ],
)
def test_push_starts_a_workflow(on: str, ref: str, changed: list[str] | None, starts: bool) -> None:
    assert is_triggered(flow(on), RunFacts(event="push", ref=ref), changed) is starts


@pytest.mark.parametrize(
    ("on", "event", "payload", "starts"),
    [
        ("on: pull_request", "pull_request", {"action": "opened"}, True),
        ("on: pull_request", "pull_request", {"action": "labeled"}, False),
        ("on: {pull_request: {types: [labeled]}}", "pull_request", {"action": "labeled"}, True),
        ("on: {pull_request: {types: labeled}}", "pull_request", {"action": "opened"}, False),
        ("on: {pull_request: {branches: [main]}}", "pull_request", {"pull_request": {"base": {"ref": "main"}}}, True),
        ("on: {pull_request: {branches: [main]}}", "pull_request", {"pull_request": {"base": {"ref": "x"}}}, False),
        ("on: {pull_request_target: {branches-ignore: [x]}}", "pull_request_target",
         {"action": "reopened", "pull_request": {"base": {"ref": "x"}}}, False),
        ("on: issues", "issues", {"action": "pinned"}, True),
        ("on: {issues: {types: [opened]}}", "issues", {"action": "pinned"}, False),
        ("on: {workflow_run: {workflows: [build, 'x*'], types: [completed]}}", "workflow_run",
         {"action": "completed", "workflow_run": {"name": "xy", "head_branch": "b"}}, True),
        ("on: {workflow_run: {workflows: [build]}}", "workflow_run", {"workflow_run": {"name": "test"}}, False),
        ("on: {workflow_run: {workflows: [b], branches: [main]}}", "workflow_run",
         {"workflow_run": {"name": "b", "head_branch": "dev"}}, False),
        ("on: {merge_group: {branches: [main]}}", "merge_group",
         {"action": "checks_requested", "merge_group": {"base_ref": "refs/heads/main"}}, True),
        ("on: {repository_dispatch: {types: [deploy]}}", "repository_dispatch", {"action": "deploy"}, True),
        ("on: {repository_dispatch: {types: [deploy]}}", "repository_dispatch", {"action": "other"}, False),
    ],
)  # fmt: skip
def test_other_events_start_a_workflow(on: str, event: str, payload: dict[str, object], starts: bool) -> None:
    facts = RunFacts(event=event, payload=payload)  # type: ignore[arg-type]  # JSON is a value
    assert is_triggered(flow(on), facts) is starts


def minute(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "after", "ticks"),
    [
        ("*/15 * * * *", "2026-01-01T00:00", ["2026-01-01T00:15", "2026-01-01T00:30"]),
        ("30 5 * * MON-FRI", "2026-01-02T06:00", ["2026-01-05T05:30", "2026-01-06T05:30"]),
        ("0 0 1,15 * *", "2026-01-31T12:00", ["2026-02-01T00:00", "2026-02-15T00:00"]),
        ("0 0 29 2 *", "2026-01-01T00:00", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("0 12 13 * FRI", "2026-02-01T00:00", ["2026-02-06T12:00", "2026-02-13T12:00"]),
        ("0 0 30 2 *", "2026-01-01T00:00", []),
    ],
)
def test_schedule_is_due(text: str, after: str, ticks: list[str]) -> None:
    assert next_ticks(text, minute(after), 2) == [minute(tick) for tick in ticks]


def test_schedule_is_in_utc_unless_it_names_a_timezone() -> None:
    elsewhere = datetime(2026, 7, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))  # 22:30 the day before in UTC
    assert next_ticks("0 23 * * *", elsewhere) == [minute("2026-06-30T23:00")]
    assert next_ticks("0 9 * * *", elsewhere, timezone="Asia/Tokyo") == [minute("2026-07-01T00:00")]
    with pytest.raises(UsageError, match="unknown timezone"):
        next_ticks("0 9 * * *", elsewhere, timezone="../Mars")
    with pytest.raises(UsageError, match="expected five fields"):
        next_ticks("@daily", elsewhere)


@pytest.mark.parametrize(
    ("head", "event", "payload", "title"),
    [
        ("on: push\nrun-name: Deploy by @${{ github.actor }}", "push", {}, "Deploy by @local"),
        ("on: push\nrun-name: '  a\n\n  b  '", "push", {}, "a b"),
        ("on: push\nname: CI\nrun-name: ${{ github.event.none }}", "push", {}, "CI"),
        ("on: push\nname: CI", "push", {"head_commit": {"message": "Fix it\n\nlong"}}, "Fix it"),
        ("on: push\nname: CI", "push", {"head_commit": {"message": " "}}, "CI"),
        ("on: pull_request\nname: CI", "pull_request", {"pull_request": {"title": "Add"}}, "Add"),
        ("on: schedule\nname: CI", "schedule", {}, "CI"),
        ("on: push", "push", {}, "dir/ci.yml"),
    ],
)
def test_run_has_a_title(head: str, event: str, payload: dict[str, object], title: str) -> None:
    text = head.replace("on: schedule", "on: {schedule: [{cron: '0 0 * * *'}]}")
    facts = RunFacts(event=event, payload=payload)  # type: ignore[arg-type]  # JSON is a value
    assert title_of(flow(text), facts) == title


def test_title_that_cannot_be_evaluated_is_told_with_its_place() -> None:
    with pytest.raises(InvalidWorkflow, match="line 2, column 15"):
        title_of(flow("on: push\nrun-name: ${{ fromJSON(github.actor) }}"), RunFacts(actor="{"))
