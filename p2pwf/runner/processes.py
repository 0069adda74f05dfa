"""The node's side of `reaper`: start the spawner once, ask it for a supervisor per job, start steps through that.

Knows processes and descriptors; nothing of workflows. All waiting is trio's; no thread is held by a running step.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import attrs
import trio

from p2pwf.errors import TryAgain
from p2pwf.runner import reaper

SIGNAL_STATUS: Final = 128
"""Shells show a process that a signal ended as this plus the signal's number."""
STARTS: Final = 3
"""Tries to get a supervisor; each but the first with a new spawner."""
GONE_STATUS: Final = 137
"""What a step shows when its supervisor was killed: as if by SIGKILL."""


@attrs.frozen(slots=True)
class Launch:
    """A program to start: the absolute path first in `arguments`, its whole environment, an existing folder."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = attrs.field(repr=False)
    folder: Path


class Process:
    """A started step: two pipes to read, an exit status to wait for."""

    def __init__(self, key: int, stdout: trio.lowlevel.FdStream, stderr: trio.lowlevel.FdStream) -> None:
        self.key = key
        self.stdout = stdout
        self.stderr = stderr
        self._ended = trio.Event()
        self._status = GONE_STATUS
        self.alone = False
        """Set with the end: no process of the job was alive any more, nothing that this one started either."""

    async def wait(self) -> int:
        """The exit status, 0 to 255; 128 + n if signal n ended it."""
        await self._ended.wait()
        return self._status

    def end(self, status: int, alone: bool) -> None:
        """Record how it ended (called once, by the supervisor's reader)."""
        self._status = status
        self.alone = alone
        self._ended.set()


class Supervisor:
    """The processes of one job. Made by `Spawner.supervise`, which also sees that they all are dead at its end."""

    def __init__(self, link: trio.socket.SocketType) -> None:
        self._link = link
        self._sending = trio.Lock()
        self._processes: dict[int, Process] = {}
        self._answers: dict[bytes, tuple[trio.Event, list[int]]] = {}
        self._keys = 0
        self._dead_keys = 0
        """Of the programs started, as many as were for certain followed by the end of everything."""
        self._refused = ""
        self.lost = False
        """Whether the supervisor is gone before its time. Its processes are being killed, by the spawner."""

    async def isolate(self, plan: bytes) -> None:
        """Keep all that is started from now on apart, as a plan says (`isolation/plan`).

        Raises TryAgain if that cannot be done; then nothing may be started.
        """
        event, _ = self._answers.setdefault(b"I", (trio.Event(), []))
        await self._send([b"I", plan])
        await event.wait()
        del self._answers[b"I"]
        if self.lost or self._refused:
            reason = self._refused or "its supervisor is gone"
            raise TryAgain(f"the job cannot be kept apart: {reason}", "see `p2pwf doctor` on that peer")

    async def start(self, launch: Launch) -> Process:
        """Start a program in a session of its own; raises TryAgain if the supervisor is gone or no pipe is to be had.

        A program that cannot be executed shows as a message on its standard error and exit status 126.
        """
        self._keys += 1
        key = self._keys
        mark = f"{reaper.STEP_MARK}{key}"
        fields = [
            b"S",
            b"%d" % key,
            os.fsencode(launch.folder),
            b"%d" % len(launch.arguments),
            *map(_encode, launch.arguments),
            *(_encode(f"{name}={value}") for name, value in launch.environment.items()),
            mark.encode(),
        ]
        try:
            out, out_write = os.pipe()
        except OSError as error:
            raise TryAgain(f"cannot start a step: {error.strerror}", "raise the limit of open files") from error
        try:
            errors, errors_write = os.pipe()
        except OSError as error:
            os.close(out)
            os.close(out_write)
            raise TryAgain(f"cannot start a step: {error.strerror}", "raise the limit of open files") from error
        process = Process(key, trio.lowlevel.FdStream(out), trio.lowlevel.FdStream(errors))
        self._processes[key] = process
        try:
            await self._send(fields, (out_write, errors_write))
        except BaseException:
            del self._processes[key]
            with trio.CancelScope(shield=True):
                await process.stdout.aclose()
                await process.stderr.aclose()
            raise
        finally:
            os.close(out_write)
            os.close(errors_write)
        return process

    async def signal(self, process: Process, number: int) -> None:
        """Send a signal to the process group of a step; nothing happens if its first process has ended."""
        if not self.lost:
            with suppress(TryAgain):
                await self._send([b"G", b"%d" % process.key, b"%d" % number])

    async def kill(self, process: Process) -> int:
        """Kill all that a step started, daemons too; returns once they are dead, with how many there were."""
        return await self._ask(b"K", b"%d" % process.key)

    async def kill_everything(self) -> int:
        """Kill all that the job started; returns once they are dead, with how many there were."""
        keys = self._keys
        if keys == self._dead_keys:
            return 0  # nothing was started since that was last done
        killed = await self._ask(b"A")
        self._dead_keys = keys
        return killed

    async def _ask(self, *fields: bytes) -> int:
        if self.lost:
            return 0
        asked = fields[-1]
        event, counts = self._answers.setdefault(asked, (trio.Event(), []))
        try:
            await self._send(list(fields))
        except TryAgain:
            return 0
        await event.wait()
        self._answers.pop(asked, None)
        return counts[0] if counts else 0

    async def _send(self, fields: list[bytes], descriptors: tuple[int, ...] = ()) -> None:
        payload = b"\0".join(fields)
        data = memoryview(len(payload).to_bytes(reaper.FRAME_HEADER, "little") + payload)
        # A frame that was begun is finished: half of one would leave the supervisor deaf.
        with trio.CancelScope(shield=True):
            async with self._sending:
                try:
                    if descriptors:
                        content = b"".join(number.to_bytes(4, sys.byteorder) for number in descriptors)
                        sent = await self._link.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, content)])
                        data = data[sent:]
                    while data:
                        data = data[await self._link.send(data) :]
                except OSError as error:
                    raise TryAgain("the job's supervisor is gone", "was it killed? the job can be run again") from error

    async def read_answers(self) -> None:
        """Take in what the supervisor tells until it is gone; then everything counts as ended."""
        buffer = b""
        try:
            while data := await self._link.recv(reaper.READ_SIZE):
                buffer += data
                while len(buffer) >= reaper.FRAME_HEADER:
                    end = reaper.FRAME_HEADER + int.from_bytes(buffer[: reaper.FRAME_HEADER], "little")
                    if len(buffer) < end:
                        break
                    self._take(buffer[reaper.FRAME_HEADER : end].split(b"\0"))
                    buffer = buffer[end:]
        except OSError:
            pass  # reset instead of closed: gone all the same
        finally:
            self.lost = True
            for process in self._processes.values():
                process.end(GONE_STATUS, False)
            self._processes.clear()
            for event, _ in self._answers.values():
                event.set()

    def _take(self, fields: list[bytes]) -> None:
        if fields[0] == b"X":
            process = self._processes.pop(int(fields[1]), None)
            if process is not None:
                status = os.waitstatus_to_exitcode(int(fields[3]))
                process.end(status if status >= 0 else SIGNAL_STATUS - status, fields[2] == b"0")
            return
        if fields[0] == b"I":
            self._refused = fields[1].decode(errors="replace")
            self._answers[b"I"][0].set()
            return
        asked = fields[0] if fields[0] == b"A" else fields[1]
        waiting = self._answers.get(asked)
        if waiting is not None:
            waiting[1].append(int(fields[-1]))
            waiting[0].set()


async def _within(scope: trio.CancelScope, work: Callable[[], Awaitable[None]]) -> None:
    with scope:
        await work()


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class Spawner:
    """One small process that forks supervisors. Made by `open_spawner`."""

    def __init__(self) -> None:
        self._link: socket.socket | None = None
        self._spare: socket.socket | None = None
        """To a supervisor that was ordered ahead."""
        self._programs: list[subprocess.Popen[bytes]] = []

    @asynccontextmanager
    async def supervise(self) -> AsyncIterator[Supervisor]:
        """A supervisor for one job; at the end of the block every process of the job is dead.

        Raises TryAgain if it cannot be started. A spawner that was killed is started anew.
        """
        with await self._connect() as link:
            supervisor = Supervisor(link)
            async with trio.open_nursery() as nursery:
                # Shielded: when the job is cancelled, the answer that all is dead must still come in.
                reading = trio.CancelScope(shield=True)
                nursery.start_soon(_within, reading, supervisor.read_answers)
                try:
                    yield supervisor
                finally:
                    with trio.CancelScope(shield=True):
                        await supervisor.kill_everything()
                    reading.cancel()

    async def _connect(self) -> trio.socket.SocketType:
        """A socket to a new supervisor, which has said that it is ready."""
        for _ in range(STARTS):
            link = self._link or self.start()
            connection, self._spare = trio.socket.from_stdlib_socket(self._spare or self._order(link)), None
            try:
                if await connection.recv(len(reaper.READY)) == reaper.READY:
                    # The next one gets ready while this one works: a job does not wait for a fork.
                    if self._link is link and self._spare is None:
                        self._spare = self._order(link)
                    return connection
            except OSError:
                pass  # the spawner is gone, or could not fork
            except BaseException:
                connection.close()
                raise
            connection.close()
            if link is self._link:  # else another job has found out first
                self._link = None
                self._drop_spare()
                link.close()  # if it lives after all, it leaves once the jobs that it has are over
        raise TryAgain("cannot start a job's supervisor", "is the machine out of processes or of memory?")

    def _order(self, link: socket.socket) -> socket.socket:
        """Have a supervisor forked; one that cannot be is a socket that has ended."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs, suppress(OSError):
            socket.send_fds(link, [reaper.NEW_JOB], [theirs.fileno()])
        return ours

    def _drop_spare(self) -> None:
        if self._spare is not None:
            self._spare.close()
            self._spare = None

    def start(self) -> socket.socket:
        """Start the program; it gets ready while the caller goes on. Raises TryAgain if it cannot be started."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                program = subprocess.Popen(
                    [sys.executable, "-I", "-S", reaper.__file__, str(theirs.fileno())],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={},
                    cwd="/",
                    start_new_session=True,  # a Ctrl-C is for the node, which then ends its jobs in order
                )
            except OSError as error:
                ours.close()
                raise TryAgain(f"cannot start the spawner of jobs: {error.strerror}") from error
        self._programs = [known for known in self._programs if known.poll() is None] + [program]
        self._link = ours
        self._spare = self._order(ours)
        return ours

    def close(self) -> None:
        """Close our end, which ends the program and whatever it still has; blocks until it is gone."""
        self._drop_spare()
        if self._link is not None:
            self._link.close()
            self._link = None
        for program in self._programs:
            program.wait()
        self._programs.clear()


@asynccontextmanager
async def open_spawner() -> AsyncIterator[Spawner]:
    """The spawner that all jobs of a node share, started at once so that the first job does not wait for it."""
    spawner = Spawner()
    spawner.start()
    try:
        yield spawner
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(spawner.close)
