"""The loop around the engine: takes inputs in batches, makes their stores durable in one commit, performs the rest.

Nothing that an engine says is told to anyone before the store it came with is on disk: a batch's stores go first, all
in one transaction (group commit), then the batch's other outputs, in order. Knows nothing of libp2p or processes: what
an output means is the `Shell`'s.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, TypeAlias, cast

import attrs
import trio

from p2pwf.core.events import Event
from p2pwf.engine import Engine
from p2pwf.engine.inputs import Input, Now, Tick
from p2pwf.engine.outputs import Output, Reply, Store, WakeAt
from p2pwf.errors import InternalError, P2pwfError, StorageError, TryAgain
from p2pwf.store.events import Commit, EventStore, StoredEvent

INBOX: Final = 1024
"""Inputs waiting; who puts in more waits, so a flood slows its sender."""
BATCH: Final = 128
"""Inputs handled before their one commit."""
BATCH_SECONDS: Final = 0.02
"""Handling stops for a commit after that long, however many wait: the loop must serve others too."""
ASK_SECONDS: Final = 30.0
"""A request that is not answered by then is given up; its effect, if any, is in the clock."""
TELL_SECONDS: Final = 0.5
"""Between the disk's refusal and the end of the node: those who wait for an answer get to know why there is none."""


Waiting: TypeAlias = tuple[Input, Callable[[], None] | None]
"""An input, and what to call once all that it led to is done."""


class Shell(Protocol):
    """Performs what is left of an engine's outputs once its stores are durable."""

    async def perform(self, outputs: list[Output]) -> None:
        """Perform a batch, in order; never blocks for long."""


def wall_ms() -> int:
    """The wall clock, in ms since 1970."""
    return time.time_ns() // 1_000_000


_WITH_SLEEP: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
_WITHOUT: Final[int | None] = getattr(
    time, "CLOCK_MONOTONIC" if hasattr(time, "CLOCK_BOOTTIME") else "CLOCK_UPTIME_RAW", None
)
"""Clocks of Linux, and of macOS, that go on while the machine sleeps, and stand still like `time.monotonic`."""


def _ahead() -> float:
    """Seconds that the machine has slept since it was started; 0 where nobody tells."""
    if _WITH_SLEEP is None or _WITHOUT is None:
        return 0.0
    return time.clock_gettime(_WITH_SLEEP) - time.clock_gettime(_WITHOUT)


_AHEAD_AT_START: Final = _ahead()


def mono() -> float:
    """Seconds on a clock that is never set, and that a machine's sleep does not stop: who slept for a week has to know
    that others have heard nothing of it for a week. Whole seconds of sleep are added."""
    return time.monotonic() + round(_ahead() - _AHEAD_AT_START)


def now() -> Now:
    """The time, as the engine takes it."""
    return Now(mono(), wall_ms())


def keep_history() -> None:
    """Take all that was loaded out of the garbage collector's sight, and look at what is old seldom from now on.

    A node's memory is its history, which is no garbage; one look at 10,000 runs stops the loop for 100 ms.
    """
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, 1000)


def stored_event(event: Event) -> StoredEvent:
    """An event as the store keeps it."""
    return StoredEvent(
        cid=event.cid,
        block=event.signed.block,
        signature=event.signed.signature,
        author=event.author,
        seq=event.seq,
        lamport=event.lamport,
        type=event.type,
        run=event.run,
    )


@attrs.define(slots=True, eq=False)
class Asked:
    """A request under way."""

    done: trio.Event = attrs.field(factory=trio.Event)
    reply: Reply | None = None


class EngineLoop:
    """Owns the engine: nobody else gives it inputs. `failed`: why the store refused, if it did."""

    def __init__(self, engine: Engine, store: EventStore, shell: Shell) -> None:
        self.engine = engine
        self._store = store
        self._shell = shell
        self._send, self._receive = trio.open_memory_channel[Waiting](INBOX)
        self._wake = 0.0
        self._asked: dict[object, Asked] = {}
        self.failed: StorageError | None = None

    async def put(self, input: Input, handled: Callable[[], None] | None = None) -> None:
        """Hand in an input; waits while the inbox is full. `handled` is called once all that it led to is done."""
        await self._send.send((input, handled))

    async def ask(self, make: Callable[[object], Input]) -> dict[str, Any]:
        """Make a request with a token of its own and wait for its result; raises the error that refused it."""
        if self.failed is not None:
            raise self.failed
        token = object()
        asked = self._asked[token] = Asked()
        try:
            with trio.fail_after(ASK_SECONDS):
                await self._send.send((make(token), None))
                await asked.done.wait()
        except trio.TooSlowError:
            raise TryAgain("the node is too busy to answer", "try again in a moment") from None
        finally:
            del self._asked[token]
        reply = asked.reply
        if reply is None:
            raise InternalError("a request was answered with nothing")
        if reply.error is not None:
            raise reply.error
        return cast("dict[str, Any]", reply.result)

    async def run(self) -> None:
        """Handle inputs for ever. Raises StorageError if the disk refuses: then nothing of that batch was told."""
        while True:
            batch = await self._next_batch()
            while batch:
                outputs: list[Output] = []
                done: list[Callable[[], None]] = []
                until = time.monotonic() + BATCH_SECONDS
                while batch and time.monotonic() < until:
                    input, handled = batch.popleft()
                    outputs.extend(self.engine.handle(input, now()))
                    if handled is not None:
                        done.append(handled)
                await self._perform(outputs)
                for tell in done:
                    tell()

    async def _next_batch(self) -> deque[Waiting]:
        batch: deque[Waiting] = deque()
        with trio.move_on_after(max(0.0, self._wake - mono())):
            batch.append(await self._receive.receive())
        if not batch or mono() >= self._wake:
            batch.append((Tick(), None))
        while len(batch) < BATCH:
            try:
                batch.append(self._receive.receive_nowait())
            except trio.WouldBlock:
                break
        return batch

    async def _perform(self, outputs: list[Output]) -> None:
        commits = [_commit(output) for output in outputs if isinstance(output, Store)]
        if commits:
            try:
                await trio.to_thread.run_sync(self._store.commit, *commits)
            except StorageError as error:
                self._refuse_all(error)
                await trio.sleep(TELL_SECONDS)
                raise
        rest: list[Output] = []
        for output in outputs:
            if isinstance(output, WakeAt):
                self._wake = output.mono
            elif isinstance(output, Reply):
                asked = self._asked.get(output.token)
                if asked is not None:
                    asked.reply = output
                    asked.done.set()
            elif not isinstance(output, Store):
                rest.append(output)
        await self._shell.perform(rest)

    def _refuse_all(self, error: StorageError) -> None:
        """The disk refused: nobody who waits is told that anything was done."""
        self.failed = error
        for token, asked in self._asked.items():
            asked.reply = Reply(token, error=error)
            asked.done.set()


def _commit(output: Store) -> Commit:
    events, stubs = (tuple(map(stored_event, part)) for part in (output.events, output.stubs))
    return Commit(events, output.meta, stubs=stubs)


def first_error(errors: Iterable[BaseException]) -> P2pwfError | None:
    """The first of our own errors in a group, however deep: what a person is to be told."""
    for error in errors:
        if isinstance(error, P2pwfError):
            return error
        if isinstance(error, BaseExceptionGroup):
            found = first_error(error.exceptions)
            if found is not None:
                return found
    return None
