"""actions/checkout: the source that travels with a run, laid out in the workspace, with a git repository around it.

Source of the inputs' meaning: the public documentation of actions/checkout. There is one tree and no history:
`fetch-tags`, `token`, `ssh-key` and the like ask for what is not needed here and are passed over. With a `fetch-depth`
or a `ref` people expect other commits: a warning says that there are none. Submodules that the submitter had checked
out are part of the source. `sparse-checkout` lays out less.

The repository (see `gitcommit`) adds about 8 ms to a checkout of ten files, 20 ms to one of a hundred, where git is on
PATH; without git, or where git refuses the tree, there is none, and the log says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from p2pwf.errors import UsageError
from p2pwf.runner.checkout import layout
from p2pwf.runner.hashfiles import MAX_PATTERNS
from p2pwf.runner.jobfiles import read_file, remove
from p2pwf.runner.manifest import Manifest
from p2pwf.runner.native.context import NativeAction, NativeContext
from p2pwf.runner.native.gitcommit import GitFailed, make_repository
from p2pwf.runner.native.staging import scratch
from p2pwf.runner.patterns import check_length, path_expression
from p2pwf.runner.shells import find_program
from p2pwf.workflow import RunFacts

MIN_SHA: Final = 7
_FLAGS: Final = (
    "clean", "fetch-tags", "lfs", "persist-credentials", "set-safe-directory", "show-progress",
    "sparse-checkout-cone-mode", "ssh-strict",
)  # fmt: skip


async def _main(context: NativeContext) -> dict[str, str]:
    state, facts = context.state, context.state.facts
    _check(context)
    if state.request.source is None:
        raise UsageError("this run has no source to check out", "submit it without --no-source")
    hand = state.hand
    folder = await hand.run(_destination, context.workspace, context.outside(context.text("path")))
    if context.flag("clean", default=True):
        await hand.run(_empty, folder)
    chosen = _sparse(context)
    tree = await layout(state.request.source, state.env.fetch_blob, folder, chosen, hand)
    context.say(f"The source of the run is in {folder}")
    if context.flag("lfs"):
        await _look_for_pointers(context, folder, tree)
    if context.text("submodules", "false").lower() != "false":
        context.say("Submodules are in the source of a run as far as its submitter had them checked out")
    if context.text("ref") or context.text("fetch-depth", "1") != "1":
        context.warn(
            "The source of a run travels without history: what is checked out is one commit of its own, so HEAD is not "
            "GITHUB_SHA, and there are no other commits, branches or tags"
        )
    await _make_repository(context, folder, tree)
    return {"ref": context.text("ref") or facts.ref, "commit": facts.sha}


ACTION: Final = NativeAction(_main)


def _check(context: NativeContext) -> None:
    """Refuse what cannot be had; raises UsageError."""
    facts = context.state.facts
    repository = context.text("repository", facts.repository)
    if repository.lower() != facts.repository.lower():
        raise UsageError(
            f"actions/checkout of another repository: {repository}",
            f"only the source of the run, {facts.repository}, travels with it; "
            "a step with `git clone` gets others where the peer has a network",
        )
    ref = context.text("ref")
    if ref and not _is_of_source(ref, facts):
        raise UsageError(
            f"actions/checkout of another ref: {ref}",
            f"the source of the run is {facts.ref_name}; submit the run from {ref} to have that one",
        )
    for name in _FLAGS:
        context.flag(name)
    depth = context.text("fetch-depth", "1")
    if not depth.isdecimal():
        raise UsageError(f"fetch-depth is no number: {depth[:80]}", "it is accepted, but the source has no history")
    submodules = context.text("submodules", "false").lower()
    if submodules not in ("false", "true", "recursive"):
        raise UsageError(f"the input 'submodules' cannot be: {submodules[:80]}", "write true, false or recursive")


def _is_of_source(ref: str, facts: RunFacts) -> bool:
    """Whether a ref names what the run stands on: its branch or tag, its commit, the head of its pull request."""
    github = facts.github()
    pull = facts.payload.get("pull_request")
    head = pull.get("head") if isinstance(pull, dict) else None
    names = {facts.ref, facts.ref_name, github["head_ref"], head.get("sha") if isinstance(head, dict) else None}
    if ref in names or f"refs/heads/{ref}" in names:
        return True
    return len(ref) >= MIN_SHA and facts.sha.startswith(ref.lower())


def _destination(workspace: Path, path: str) -> Path:
    """The folder that `path` names; raises UsageError if it lies outside the workspace, by links too."""
    root = workspace.resolve()
    folder = (root / path).resolve()
    if not folder.is_relative_to(root):
        raise UsageError(f"actions/checkout to a folder outside of the workspace: {path}", "give a path below it")
    return folder


def _empty(folder: Path) -> None:
    """Make a folder, or take out whatever is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in folder.iterdir():
        remove(entry)


def _sparse(context: NativeContext) -> Callable[[str], bool] | None:
    """Which files are wanted; None for all. Cones: the files at the top, those of folders on the way, all below."""
    lines = [line for line in context.lines("sparse-checkout") if not line.startswith("#")]
    if not lines:
        return None
    if context.flag("sparse-checkout-cone-mode", default=True):
        cones = [line.strip("/") for line in lines]
        onto = {"", *("/".join(cone.split("/")[:count]) for cone in cones for count in range(1, cone.count("/") + 1))}
        return lambda path: path.rpartition("/")[0] in onto or any(path.startswith(cone + "/") for cone in cones)
    if len(lines) > MAX_PATTERNS:
        raise UsageError(f"sparse-checkout of {len(lines)} patterns", f"the bound is {MAX_PATTERNS}")
    rules = [(not line.startswith("!"), _ignore_rule(line.lstrip("!"))) for line in lines]

    def wanted(path: str) -> bool:
        said = False
        for means, rule in rules:
            if rule.fullmatch("/" + path):
                said = means
        return said

    return wanted


def _ignore_rule(line: str) -> re.Pattern[str]:
    """A pattern as in a file of git's ignore rules, for a path with a `/` before it: anchored if a slash is not its
    last character; all below counts."""
    check_length(line)
    text = line.strip("/")
    anchored = line.startswith("/") or "/" in text
    parts = [part for part in text.split("/") if part]
    inside = line.endswith("/") or parts[-1:] == ["**"]
    while parts[-1:] == ["**"]:
        parts.pop()
    if parts in ([], ["*"]):
        return re.compile(".+", re.DOTALL)
    expression = path_expression(parts if anchored else ["**", *parts])
    return re.compile(expression + ("/.+" if inside else "(?:/.+)?"), re.DOTALL)


async def _look_for_pointers(context: NativeContext, folder: Path, tree: Manifest) -> None:
    def pointers() -> bool:
        for file in tree.files:
            if file.cid is not None and file.size < 1024:
                data = read_file(folder / file.path, 40) or b""
                if data.startswith(b"version https://git-lfs.github.com/spec/"):
                    return True
        return False

    if await context.state.hand.run(pointers):
        context.warn("The source has pointers of Git LFS and not the files: its submitter had not fetched them")


async def _make_repository(context: NativeContext, folder: Path, tree: Manifest) -> None:
    state = context.state
    git = find_program("git", state.base.get("PATH", ""))
    if git is None:
        context.say("There is no git on PATH, so the source is no git repository")
        return
    paths = [file.path for file in tree.files]
    try:
        await state.hand.run(remove, folder / ".git")
        # Not where the job can write: it would have a say in how git runs, which is outside of all that keeps it apart.
        async with scratch(state) as aside:
            await state.hand.run(
                *(make_repository, git, folder, aside / "git", paths, state.facts, state.folders.owner),
                rights="programs",
                into=[aside],
            )
    except (GitFailed, OSError) as error:
        context.warn(f"The source is no git repository: {error}")
