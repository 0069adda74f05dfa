"""The runner's own work on a job's files, done with no more rights than the job has. Knows threads and folders.

A job puts what it likes into its folders: links to the node's key, folders that turn into links while somebody looks
away. Checks of paths lose such races. So for an isolated job, whatever the runner reads or writes there for it is done
in a thread of its own that has given up what the job does not have, for good: where jobs have users of their own, the
thread is that user to the file system (setfsuid(2) counts for one thread); and where there is landlock, which without
such users there has to be, that keeps it to the job's files.
For other jobs, which may do all that the node may, it is done as it comes.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast

import trio

from p2pwf.errors import Refused
from p2pwf.runner.environment import Folders

T = TypeVar("T")
Rights = Literal["job", "reads", "programs"]
"""To the job's folders and nothing else; to read anything as well, for work that reads only from paths that the job has
no say in; to run programs of the system, as the job may."""
CAPABILITY_VERSION: Final = 0x20080522
DAC_READ_SEARCH: Final = 1 << 2
"""Read what its owner keeps to himself; no help for writing."""
SYS_SETGROUPS: Final = {"x86_64": 116, "aarch64": 159}
"""By number: the C library's function changes all threads."""


class Hand:
    """Works on the files of one job. Where it stands makes no difference, so anybody may make one."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self.stopped = False
        """Whether nobody waits for what it does any more; work that may take long looks at it."""

    def stop(self) -> None:
        """Have it end what may take long."""
        self.stopped = True

    @property
    def is_apart(self) -> bool:
        """Whether the job is isolated, so that rights are given up."""
        return self._folders.apart

    async def run(
        self, work: Callable[..., T], *arguments: object, rights: Rights = "job", into: Sequence[Path] = ()
    ) -> T:
        """Do blocking work in a thread, as the job; raises what it raises, and Refused if rights cannot be given up.

        `into`: folders of the runner's own that it writes to.
        """
        return await trio.to_thread.run_sync(partial(self.do, work, *arguments, rights=rights, into=into))

    def do(self, work: Callable[..., T], *arguments: object, rights: Rights = "job", into: Sequence[Path] = ()) -> T:
        """The same, blocking."""
        if not self._folders.apart:
            return work(*arguments)
        ended: list[tuple[Any, BaseException | None]] = []

        def act() -> None:
            try:
                self._become(rights, into)
                ended.append((work(*arguments), None))
            except BaseException as error:  # noqa: BLE001 - raised where the work was asked for
                ended.append((None, error))

        thread = threading.Thread(target=act, name="p2pwf-hand")
        thread.start()
        thread.join()
        result, error = ended[0]
        if error is not None:
            raise error
        return cast(T, result)

    def _become(self, rights: Rights, into: Sequence[Path]) -> None:
        from p2pwf.runner.isolation import confine, plan  # noqa: PLC0415 - most of a user's own jobs need none of it

        own = [*map(str, self._folders.given), *map(str, into)]
        user, landlock = self._folders.owner, confine.landlock_abi() > 0
        try:
            if user is not None:
                # With landlock, what this program itself still imports can be read, wherever it is installed.
                become_user(user, reads=rights == "reads" or landlock)
            if user is None or landlock:
                view = plan.own_view(self._folders) if rights == "programs" else {"read": [], "devices": []}
                read = ["/"] if rights == "reads" else [*own, *_program(), *view["read"]]
                confine.restrict(read, own, view["devices"], files=True, signals=False)
        except OSError as error:
            raise Refused(
                f"the runner cannot give up its rights to work on the job's files: {error.strerror or error}",
                "see `p2pwf doctor` on that peer",
            ) from error


def _program() -> list[str]:
    """Where this program's own modules are."""
    return [path for path in dict.fromkeys([*sys.path, sys.prefix, sys.base_prefix]) if path not in ("", "/")]


def become_user(user: int, *, reads: bool) -> None:
    """Let this thread, and no other, be a user to the file system; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = SYS_SETGROUPS.get(platform.machine())
    if not sys.platform.startswith("linux") or number is None:
        raise OSError(0, "not on this system")
    if libc.syscall(ctypes.c_long(number), ctypes.c_size_t(0), None) != 0:
        raise OSError(ctypes.get_errno(), "setgroups")
    libc.setfsgid(ctypes.c_uint(user))
    libc.setfsuid(ctypes.c_uint(user))
    # Both return what was before, also if they fail: asking with what cannot be tells what is.
    if libc.setfsgid(ctypes.c_uint(0xFFFFFFFF)) != user or libc.setfsuid(ctypes.c_uint(0xFFFFFFFF)) != user:
        raise OSError(0, "setfsuid")
    if reads:
        header = struct.pack("=Ii", CAPABILITY_VERSION, 0)
        sets = ctypes.create_string_buffer(24)
        if libc.capget(header, sets) != 0:
            raise OSError(ctypes.get_errno(), "capget")
        low, *rest = struct.unpack("=6I", sets.raw)
        if libc.capset(header, struct.pack("=6I", low | DAC_READ_SEARCH, *rest)) != 0:
            raise OSError(ctypes.get_errno(), "capset")
