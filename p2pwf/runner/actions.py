"""Finds the actions that steps use: local ones in the workspace or the run's source, others among the pinned ones.

No network: what the submitter pinned comes as a manifest of blobs, laid out once for a job in its folder of actions,
`_actions/<owner>/<repo>/<ref>` as on GitHub.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Final

import attrs
import trio

from p2pwf.errors import NotFound, UsageError
from p2pwf.runner.checkout import Fetch, layout
from p2pwf.runner.environment import Folders
from p2pwf.runner.hand import Hand
from p2pwf.runner.jobfiles import read_file
from p2pwf.runner.values import JobRequest
from p2pwf.workflow.action import Action, DockerRuns, Stages, parse_action
from p2pwf.workflow.yaml import MAX_BYTES

FILES: Final = ("action.yml", "action.yaml")
DOCKERFILES: Final = ("Dockerfile", "dockerfile")
DOCKER: Final = "docker://"
PARSED_KEPT: Final = 64
MAX_USES: Final = 1000
"""Uses of actions in one job, those inside of actions too: ten levels of a few dozen each would never end."""
_PLAIN = re.compile(r"[A-Za-z0-9_.+-]{1,100}", re.ASCII)


@attrs.frozen(slots=True)
class Found:
    """An action: what its file says and the folder it is in; `repository` and `ref` are empty for a local one."""

    action: Action
    folder: Path
    repository: str = ""
    ref: str = ""


def is_local(uses: str) -> bool:
    """Whether a `uses` names a folder of the workspace."""
    return uses.startswith(("./", ".\\"))


def is_image(uses: str) -> bool:
    """Whether a `uses` names an image of a registry."""
    return uses.lower().startswith(DOCKER)


class Actions:
    """The actions of one job; each source is laid out once."""

    def __init__(self, request: JobRequest, folders: Folders, fetch: Fetch) -> None:
        self._request = request
        self._folders = folders
        self._fetch = fetch
        self._hand = Hand(folders)
        self._laid_out: set[Path] = set()
        self._lock = trio.Lock()
        self._uses = 0

    async def find(self, uses: str) -> Found:
        """The action that a step uses. Raises NotFound or UsageError, InvalidWorkflow for what its file says, and
        what laying it out raises."""
        self._uses += 1
        if self._uses > MAX_USES:
            raise UsageError(f"the job uses actions more than {MAX_USES} times", "do composite actions multiply?")
        if is_image(uses):
            return Found(Action(uses, uses, DockerRuns(uses, Stages())), self._folders.workspace)
        if is_local(uses):
            return await self._local(uses)
        return await self._pinned(uses)

    async def _read(self, root: Path, relative: str, shown: str) -> tuple[Action, Path] | None:
        return await self._hand.run(_read, root, relative, shown)

    async def _local(self, uses: str) -> Found:
        relative = uses.replace("\\", "/")
        found = await self._read(self._folders.workspace, relative, uses)
        if found is None and self._request.source is not None:
            async with self._lock:
                if self._folders.source not in self._laid_out:
                    await layout(self._request.source, self._fetch, self._folders.source, hand=self._hand)
                    self._laid_out.add(self._folders.source)
            found = await self._read(self._folders.source, relative, uses)
        if found is None:
            where = f"'{relative}' in the workspace or in the source of the run"
            raise NotFound(
                f"Can't find 'action.yml', 'action.yaml' or 'Dockerfile' under {where}",
                "is the path right, and the file part of the source (not ignored by git)?",
            )
        return Found(*found)

    async def _pinned(self, uses: str) -> Found:
        name, _, ref = uses.partition("@")
        owner, _, rest = name.partition("/")
        repository, _, path = rest.partition("/")
        if not (owner and repository and ref):
            raise UsageError(
                f"Invalid action reference '{uses}'", "write owner/repo[/path]@ref, ./path or docker://image"
            )
        pinned = self._request.actions.get(uses)
        if pinned is None:
            raise NotFound(
                f"the action '{uses}' did not come with this run",
                "submit it from where the action can be had: its repository, or a folder of mirrors",
            )
        parts = [part if _PLAIN.fullmatch(part) and part.strip(".") else "_" for part in (owner, repository)]
        refs = ref.split("/")
        plain = all(_PLAIN.fullmatch(part) and part.strip(".") for part in refs)
        root = self._folders.actions.joinpath(*parts, *(refs if plain else [pinned.sha]))
        if "_" in parts:
            root = self._folders.actions / "_" / pinned.source.text
        async with self._lock:
            if root not in self._laid_out:
                await layout(pinned.source, self._fetch, root, hand=self._hand)
                self._laid_out.add(root)
        found = await self._read(root, path, uses)
        if found is None:
            raise NotFound(f"Can't find 'action.yml', 'action.yaml' or 'Dockerfile' for action '{uses}'.")
        return Found(*found, f"{owner}/{repository}", ref)


def _read(root: Path, relative: str, shown: str) -> tuple[Action, Path] | None:
    """The action in a folder below `root`, and that folder; None if there is none.

    Raises UsageError, InvalidWorkflow, OSError.
    """
    try:
        top = root.resolve()
        folder = (top / relative).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a NUL
        raise UsageError(f"the path of the action '{shown[:200]}' leads nowhere: {error}") from error
    if not folder.is_relative_to(top):
        raise UsageError(f"the action '{shown}' lies outside of {root}", "give a path below it")
    for name in FILES:
        data = read_file(folder / name, MAX_BYTES + 1)
        if data is not None:
            place = (shown if is_local(shown) else shown.partition("@")[0]).removeprefix("./").rstrip("/")
            return _parsed(data, f"{place}/{name}".lstrip("/")), folder
    for name in DOCKERFILES:
        if (folder / name).is_file():
            return Action(f"{shown}/{name}", shown, DockerRuns(name, Stages())), folder
    return None


@lru_cache(PARSED_KEPT)
def _parsed(data: bytes, shown: str) -> Action:
    return parse_action(data, shown).require()
