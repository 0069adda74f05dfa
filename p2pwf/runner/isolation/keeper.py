"""Keeps the jobs of a node apart: finds out which levels work, lends each job what it takes, makes its plan.

One for a node, or for one run without a node. A level is only ever used if a probe of it has run here, as the user
and in the folder that a job would have.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Final

import attrs
import trio

from p2pwf.errors import StorageError, TryAgain
from p2pwf.isolation import Level
from p2pwf.runner.environment import Folders
from p2pwf.runner.isolation import users
from p2pwf.runner.isolation.bounds import Bounds
from p2pwf.runner.isolation.groups import Group, Place, find_places, make_group, sweep
from p2pwf.runner.isolation.plan import SHARED_MEMORY, TEMPORARY, Wanted, environment, make_plan, write_accounts
from p2pwf.runner.isolation.system import SYSTEM, reachable, tool_folders
from p2pwf.runner.jobfiles import remove_tree
from p2pwf.runner.processes import Supervisor

OTHER_ROOT: Final = Path("/var/tmp")  # noqa: S108 - a folder of ours in it, refused if it is not
"""Where jobs of a node that runs as root lie if other users cannot reach its own folder: on disk, and kept."""
BUBBLEWRAP: Final = "bwrap"


@attrs.frozen(slots=True, kw_only=True)
class Loan:
    """What one job has for its time. `user`: None is the node's own."""

    level: Level
    user: int | None
    group: Group
    bounds: Bounds
    network: bool
    tools: Sequence[str]
    image: str = ""
    """Of the container that a job without one of its own runs in, at level container."""

    @property
    def contained(self) -> bool:
        """Whether all of the job runs in containers, so that nothing may be started beside them."""
        return self.level is Level.container

    @property
    def told(self) -> str:
        """How the job is kept apart, in a line."""
        user = "as a user of its own" if self.user is not None else "as the node's own user"
        whose = "a network of its own" if self.contained else "the machine's network"
        network = f"with {whose}" if self.network else "without a network"
        return f"Isolation: {self.level.name}, {user}, {network}"

    def outside(self, path: str, folders: Folders) -> str:
        """A path as the job has it, as this machine does: a sandbox has a /tmp of its own."""
        if self.level is Level.sandbox and not path.startswith(f"{folders.root}/"):
            for place in TEMPORARY:
                if path == place or path.startswith(place + "/"):
                    return str(folders.scratch) + path[len(place) :]
        return path

    def sees(self, program: Path) -> bool:
        """Whether the job can run a program of this machine."""
        if self.contained:
            return False
        if self.level is Level.process:
            return self.user is None or reachable(program.resolve().parent)
        return any(program.is_relative_to(top) for top in (*SYSTEM, *self.tools))

    def folders(self, root: Path, repository: str) -> Folders:
        """The folders of the job at `root`."""
        return Folders.below(root, repository, apart=self.level > Level.none, owner=self.user, fixed=self.contained)


class Keeper:
    """See the module. `work`: the node's own folder for jobs. `image`: for level container, of this machine."""

    def __init__(self, work: Path, machine: Mapping[str, str] | None = None, *, image: str | None = None) -> None:
        self.image = image
        self._machine = dict(os.environ if machine is None else machine)
        self._names = count()
        self._mark = sha256(os.fsencode(work.absolute())).hexdigest()[:12]
        self.places: tuple[Place, ...] = ()
        self.no_user: str | None = users.why_not()
        """Why jobs have no user of their own here."""
        self.bubblewrap = shutil.which(BUBBLEWRAP, path=self._machine.get("PATH"))
        self._work = work
        self._other = OTHER_ROOT / f"p2pwf-{os.geteuid()}-{self._mark}"

    def prepare(self) -> None:
        """Look for control groups, and remove those that an earlier life left. Blocks for a few ms."""
        self.places = find_places()
        sweep(self.places, self._mark)

    def root(self, level: Level) -> Path:
        """Where jobs of a level lie; made if need be. Raises StorageError.

        The node's own folder; but a job that is another user has to be able to reach it, and so has the runner, which
        works on the job's files as that user.
        """
        if level is Level.none or self.no_user is not None or reachable(self._work):
            return self._work
        try:
            self._other.mkdir(mode=0o711, exist_ok=True)
            found = self._other.lstat()
        except OSError as error:
            raise StorageError(
                f"no folder for isolated jobs: {error.strerror}", f"let it be made: {self._other}"
            ) from None
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise StorageError(f"{self._other} is not a folder of this user's own", "remove it")
        self._other.chmod(0o711)
        return self._other

    @property
    def roots(self) -> tuple[Path, ...]:
        """All folders in which an earlier life may have left something."""
        return (self._work, self._other) if self._other.is_dir() and not self._other.is_symlink() else (self._work,)

    @asynccontextmanager
    async def lend(self, level: Level, bounds: Bounds, *, network: bool) -> AsyncIterator[Loan]:
        """What a job needs; its processes have to be dead at the end of the block. Raises TryAgain."""
        if level is Level.process and not network:
            raise TryAgain("a job without a network needs a sandbox", "see `p2pwf doctor`")
        with ExitStack() as stack:
            user = stack.enter_context(users.lend()) if self.no_user is None else None
            name = f"{self._mark}-{os.getpid()}-{next(self._names)}"
            group = stack.enter_context(make_group(self.places, name, bounds))
            try:
                tools = tool_folders(self._machine)
                yield Loan(
                    level=level,
                    user=user,
                    group=group,
                    bounds=bounds,
                    network=network,
                    tools=tools,
                    image=self.image or "",
                )
            finally:
                if user is not None and level is Level.process:
                    _clear_shared_memory(user)
                if user is not None and level is Level.container:
                    users.end(user)  # nothing of it should be left; but then for certain

    def close(self) -> None:
        """Take away the other folder, if it was made and is empty."""
        with suppress(OSError):
            self._other.rmdir()

    async def confine(self, supervisor: Supervisor, loan: Loan, folders: Folders) -> None:
        """Have a job's supervisor keep it apart; raises TryAgain if that cannot be done.

        At level container it does not: there it starts nothing but the command line of an engine.
        """
        if loan.contained:
            return
        if loan.level is Level.sandbox:
            write_accounts(folders)
        wanted = Wanted(
            level=loan.level,
            folders=folders,
            user=loan.user,
            network=loan.network,
            bounds=loan.bounds,
            group=loan.group,
            bubblewrap=self.bubblewrap,
            machine=self._machine,
        )
        await supervisor.isolate(await trio.to_thread.run_sync(make_plan, wanted))

    def base(self, loan: Loan, folders: Folders, base: Mapping[str, str]) -> dict[str, str]:
        """The variables that an isolated job's steps start from; at level container, those of the engine's command
        line."""
        if loan.contained:
            return dict(base)
        return environment(loan.level, folders, base, self._machine)


def _clear_shared_memory(user: int) -> None:
    """Remove what a job's user has left in shared memory: it is nobody's any more, and would take room for ever."""
    with suppress(OSError):
        for entry in Path(SHARED_MEMORY).iterdir():
            with suppress(OSError):
                if entry.lstat().st_uid == user:
                    remove_tree(entry)
