"""The processes between a node and the steps it runs: one spawner a node, one supervisor a job. A program of its own.

It is started by path, imports a few modules of the standard library and nothing of this package, so that it is small:
forking it costs a fraction of what starting an interpreter does. Two roles, each ended by the end of its socket:

- The spawner takes a socket from the node for every job and forks a supervisor that owns it.
- A supervisor starts the steps of one job, each in a session of its own, and tells how they ended.

Both are subreapers (prctl(2)): whatever a step starts, daemons that fork twice among it, stays their descendant, so
nothing escapes by losing its parents. When the node dies, by SIGKILL too, its end of the socket closes: the supervisor
then kills everything it has and leaves. When a supervisor dies, its orphans fall to the spawner, which kills them.

Messages are frames: four bytes of length (little endian), then fields separated by NUL.
To a supervisor:  I plan         keep all steps from now on apart, as the plan says (`isolation/plan`); the first frame
                  S key cwd argc argument… name=value…  start (with two descriptors: standard output, standard error)
                  G key signal   send a signal to the step's process group
                  K key          kill all that the step started;   A   kill all that the job started
From it:          X key left status   the step's first process ended (wait status); left: 0 if no process of the job is
                  K key count    the step has no living process any more;   A count   nor has the job
                  I reason       the plan is carried out; with a reason: it cannot be, and nothing may be started
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import ModuleType

PR_SET_CHILD_SUBREAPER = 36
NEW_JOB = b"J"
READY = b"R"
"""A supervisor's first byte, before any frame."""
STEP_MARK = "P2PWF_STEP="
"""In the environment of a step's processes: tells orphans of one step from those of another."""
FRAME_HEADER = 4
MAX_DESCRIPTORS = 64
READ_SIZE = 1 << 16
POLL_FLOOR_S = 0.0005
POLL_CEILING_S = 0.02
"""Between looks at whether killed processes are gone; doubled from floor to ceiling."""
EMPTY_LOOKS = 2
"""Looks that find nothing before nothing is believed to be there: one look can miss what forks while it is taken."""
KILL_PATIENCE_S = 10.0
"""How long to wait for killed processes: one that hangs in the kernel (a dead network disk) must not hang the job."""
CANNOT_RUN = 126
"""Exit status of a step whose program could not be executed, as shells have it."""
RESET_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)
"""An interpreter ignores these, and what is ignored stays ignored in the programs it starts."""

_linux = sys.platform.startswith("linux")
_prctl = ctypes.CDLL(None, use_errno=True).prctl if _linux else None


def become_subreaper() -> None:
    """Orphans below this process become its children."""
    if _prctl is not None:
        _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def load_confinement() -> ModuleType:
    """What carries out plans of isolation, by path as this program itself; loaded for the first job that has one."""
    from importlib.machinery import SourceFileLoader  # noqa: PLC0415 - most jobs of a user's own need none of it

    name = "confine"
    if name not in sys.modules:
        path = os.path.join(os.path.dirname(__file__), "isolation", "confine.py")  # noqa: PTH118, PTH120 - as below
        module = ModuleType(name)
        module.__file__ = path
        SourceFileLoader(name, path).exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


class Table:
    """A look at the processes of the machine: who has which children, and which are alive (no zombies)."""

    def __init__(self) -> None:
        self.children: dict[int, list[int]] = {}
        self.alive: set[int] = set()
        for name in os.listdir("/proc") if _linux else ():  # noqa: PTH208 - pathlib costs start-up time
            if name.isdigit():
                with contextlib.suppress(OSError):
                    self._add(int(name))

    def _add(self, pid: int) -> None:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - as above
            # The name, in parentheses, may hold anything; what follows the last one is numbers.
            state, parent = file.read().rpartition(b")")[2].split()[:2]
        self.children.setdefault(int(parent), []).append(pid)
        if state not in (b"Z", b"X"):
            self.alive.add(pid)

    def below(self, roots: list[int]) -> set[int]:
        """The living processes among the roots and all below them."""
        found: set[int] = set()
        stack = list(roots)
        while stack:
            pid = stack.pop()
            if pid not in found:
                found.add(pid)
                stack.extend(self.children.get(pid, ()))
        return found & self.alive


def step_of(pid: int) -> str | None:
    """The key of the step in whose environment a process started, or None if it has no mark."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - as above
            for entry in file.read().split(b"\0"):
                if entry.startswith(STEP_MARK.encode()):
                    return os.fsdecode(entry[len(STEP_MARK) :])
    except OSError:
        pass  # it has just ended
    return None


def own_children() -> list[int]:
    """The children of this process; empty where the kernel does not list them."""
    return children_of(os.getpid())


def children_of(pid: int) -> list[int]:
    """The children of a process that has one thread; empty where the kernel does not list them."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:  # noqa: PTH123 - as above
            return list(map(int, file.read().split()))
    except OSError:
        return []


def send_signal(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone already."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def kill_all(members: Callable[[Table], set[int]], reap: Callable[[], bool], *, to_the_last: bool = False) -> int:
    """Kill the processes that `members` finds until it finds none; how many there were.

    They are stopped first, again and again until no new one shows, so that a fork bomb cannot outrun its end.
    `reap` collects dead children and says whether any child is left. A process that hands over to a fresh one every
    few milliseconds slips through such looks; with `to_the_last`, which takes every child, it is caught as the orphan
    that it becomes.
    """
    killed: set[int] = set()
    pause = POLL_FLOOR_S
    deadline = time.monotonic() + KILL_PATIENCE_S
    empty_looks = 0
    while reap() and time.monotonic() < deadline:
        stopped: set[int] = set()
        while fresh := members(Table()) - stopped:
            for pid in fresh:
                send_signal(pid, signal.SIGSTOP)
            stopped |= fresh
        killed |= stopped
        if to_the_last:
            while reap() and (children := own_children()) and time.monotonic() < deadline:
                killed.update(children)
                for pid in children:
                    send_signal(pid, signal.SIGKILL)
        empty_looks = 0 if stopped else empty_looks + 1
        if empty_looks == EMPTY_LOOKS and not to_the_last:
            break
        for pid in stopped:
            send_signal(pid, signal.SIGKILL)
        time.sleep(pause)
        pause = min(pause * 2, POLL_CEILING_S)
    return len(killed)


class _Confinement:
    """What this program knows of `confine.Confinement`."""

    monitor: int
    init: int
    enter: Callable[[bytes], None]
    end: Callable[[], None]


class Supervisor:
    """Starts and ends the processes of one job, on behalf of the other end of `link`."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._steps: dict[int, bytes] = {}
        self._pids: dict[bytes, int] = {}
        self._before: dict[bytes, set[int]] = {}
        """What lived when a step was started, where anything did: none of it is that step's."""
        self._buffer = b""
        self._descriptors: list[int] = []
        self._silent = False
        self._confinement: _Confinement | None = None
        self._init = 0
        self._sandbox: set[int] = set()
        """What makes the sandbox and is no step's: bubblewrap, the first process in it, what that waits for."""

    def run(self) -> None:
        """Serve until the other end goes away; then nothing of the job is left."""
        become_subreaper()
        wake, wakened = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(wakened, False)
        signal.set_wakeup_fd(wakened, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        poll.register(wake, select.POLLIN)
        try:
            self._link.sendall(READY)
        except OSError:
            return  # ordered ahead, and not wanted any more
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, READ_SIZE)
                self._reap()
            if self._link.fileno() in ready and not self._receive():
                break
        self._silent = True
        self._kill_job()

    def _receive(self) -> bool:
        try:
            data, ancillary, _, _ = self._link.recvmsg(
                READ_SIZE, socket.CMSG_SPACE(4 * MAX_DESCRIPTORS), getattr(socket, "MSG_CMSG_CLOEXEC", 0)
            )
        except ConnectionError:
            return False
        for _, _, content in ancillary:
            self._descriptors.extend(memoryview(content).cast("i").tolist())
        self._buffer += data
        while len(self._buffer) >= FRAME_HEADER:
            end = FRAME_HEADER + int.from_bytes(self._buffer[:FRAME_HEADER], "little")
            if len(self._buffer) < end:
                break
            frame, self._buffer = self._buffer[FRAME_HEADER:end], self._buffer[end:]
            self._perform(frame.split(b"\0"))
        return bool(data)

    def _perform(self, fields: list[bytes]) -> None:
        verb = fields[0]
        if verb == b"S":
            self._start(fields[1:])
        elif verb == b"I":
            self._isolate(b"\0".join(fields[1:]))
        elif verb == b"G":
            pid = self._pids.get(fields[1])
            if pid in self._steps:  # an ended one's number may belong to somebody else by now
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, int(fields[2]))
        elif verb == b"K":
            self._tell(b"K", fields[1], b"%d" % self._kill_step(fields[1]))
        elif verb == b"A":
            self._tell(b"A", b"%d" % self._kill_job())

    def _tell(self, *fields: bytes) -> None:
        if self._silent:
            return
        frame = b"\0".join(fields)
        try:
            self._link.sendall(len(frame).to_bytes(FRAME_HEADER, "little") + frame)
        except OSError:
            self._silent = True  # the node is gone: the end of its socket comes next

    def _start(self, fields: list[bytes]) -> None:
        key, folder, count = fields[0], fields[1], int(fields[2])
        arguments = fields[3 : 3 + count]
        environment = dict(pair.partition(b"=")[::2] for pair in fields[3 + count :])
        output, errors = self._descriptors.pop(0), self._descriptors.pop(0)
        if self._reap():
            self._before[key] = _descendants(Table())
        try:
            if self._confinement is not None:
                pid = _fork(self._confinement, folder, arguments, environment, output, errors)
            else:
                pid = _spawn(folder, arguments, environment, output, errors)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.write(errors, f"cannot run {os.fsdecode(arguments[0])}: {error.strerror}\n".encode(errors="replace"))
            self._tell(b"X", key, b"1", b"%d" % (CANNOT_RUN << 8))
        else:
            self._steps[pid] = key
            self._pids[key] = pid
        finally:
            os.close(output)
            os.close(errors)

    def _isolate(self, plan: bytes) -> None:
        """Confine the job; the answer says why not, if that cannot be."""
        try:
            confinement = load_confinement().Confinement(plan)
            confinement.begin()
        except (OSError, ValueError, KeyError) as error:
            self._tell(b"I", (getattr(error, "strerror", None) or repr(error)).replace("\0", "").encode() or b"no")
            return
        self._confinement = confinement
        self._init = confinement.init
        if confinement.init:
            self._sandbox = {confinement.monitor, confinement.init, *children_of(confinement.init)}
        self._tell(b"I", b"")

    def _reap(self) -> bool:
        """Collect the dead and tell of steps among them; whether any child is left."""
        ended: list[tuple[bytes, int]] = []
        left = True
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                key = self._steps.pop(pid, None)
                if key is not None:
                    ended.append((key, status))
        except ChildProcessError:
            left = False
        if ended:
            others = left and (not self._sandbox or not self._is_alone())
            for key, status in ended:
                self._tell(b"X", key, b"%d" % others, b"%d" % status)
        return left

    def _is_alone(self) -> bool:
        """Whether nothing lives but what makes the sandbox."""
        inside = children_of(self._init)
        return bool(inside) and self._sandbox.issuperset((*own_children(), *inside))

    def _kill_job(self) -> int:
        if not _linux:
            for pid in self._pids.values():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
        if self._confinement is not None:
            before = _descendants(Table()) - self._sandbox
            self._confinement.end()
            return max(len(before), kill_all(_descendants, self._reap, to_the_last=True) - len(self._sandbox))
        return kill_all(_descendants, self._reap, to_the_last=True)

    def _kill_step(self, key: bytes) -> int:
        pid = self._pids.get(key)
        if pid is None:
            return 0
        if not _linux:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        before = self._before.get(key, set())
        keepers = (os.getpid(), self._init) if self._sandbox else (os.getpid(),)

        def belongs(other: int) -> bool:
            owner = self._steps.get(other)
            if owner is not None:
                return owner == key  # the first process of a step, perhaps of another one that runs beside it
            step = step_of(other)
            return step == key.decode() if step is not None else other not in before

        def members(table: Table) -> set[int]:
            # By the supervisor's own children, and those of the sandbox's first process, which has its orphans: below
            # each of them all is of one step.
            tops = [other for keeper in keepers for other in table.children.get(keeper, ())]
            return table.below([other for other in tops if other not in self._sandbox and belongs(other)])

        return kill_all(members, self._reap)


def _spawn(folder: bytes, arguments: list[bytes], environment: dict[bytes, bytes], output: int, errors: int) -> int:
    """Start a program as this process's own user. Not by fork: this copies no memory."""
    os.chdir(folder)  # it is inherited, and nothing else here depends on it
    return os.posix_spawn(
        arguments[0],
        arguments,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, errors, 2),
        ],
        setsid=True,
        setsigdef=RESET_SIGNALS,
    )


def _fork(
    confinement: _Confinement,
    folder: bytes,
    arguments: list[bytes],
    environment: dict[bytes, bytes],
    output: int,
    errors: int,
) -> int:
    """Start a program as the job's plan says; what fails before its exec shows on its standard error."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        nothing = os.open("/dev/null", os.O_RDONLY)
        for number, descriptor in enumerate((nothing, output, errors)):
            os.dup2(descriptor, number)
        signal.set_wakeup_fd(-1)
        for number in RESET_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        confinement.enter(folder)
        os.execve(arguments[0], arguments, environment)  # noqa: S606 - what a shell would do is the workflow's to say
    except BaseException as error:  # noqa: BLE001 - nothing may go on here that should have become another program
        shown = f"cannot run {os.fsdecode(arguments[0])}: {getattr(error, 'strerror', None) or repr(error)}\n"
        os.write(2, shown.encode(errors="replace"))
    finally:
        os._exit(CANNOT_RUN)


def wait_for_child() -> bool:
    """Wait until a child has ended, and leave it to be collected; False where that cannot be waited for."""
    if not hasattr(os, "waitid"):
        return False
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    return True


def _descendants(table: Table) -> set[int]:
    return table.below(table.children.get(os.getpid(), []))


def serve_spawner(link: socket.socket) -> None:
    """Fork a supervisor for every socket that arrives; leave when the node is gone and all of them are."""
    become_subreaper()
    supervisors: set[int] = set()

    def orphans(table: Table) -> set[int]:
        return table.below([pid for pid in table.children.get(os.getpid(), []) if pid not in supervisors])

    def reap() -> bool:
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                supervisors.discard(pid)
            return True
        return False

    def collect(*_: object) -> None:
        before = len(supervisors)
        if reap() and len(supervisors) < before:
            kill_all(orphans, reap)

    signal.signal(signal.SIGCHLD, collect)
    while True:
        data, descriptors, _, _ = socket.recv_fds(link, 1, 1)
        if data != NEW_JOB:
            break
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        try:
            pid = os.fork()
        except OSError:
            pid = -1  # the node sees the socket close
        if pid == 0:
            link.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            os.set_inheritable(descriptors[0], False)
            Supervisor(socket.socket(fileno=descriptors[0])).run()
            os._exit(0)
        if pid > 0:
            supervisors.add(pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        os.close(descriptors[0])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    while reap():
        kill_all(orphans, reap)
        if not wait_for_child():
            time.sleep(POLL_CEILING_S)


if __name__ == "__main__":
    serve_spawner(socket.socket(fileno=int(sys.argv[1])))
    os._exit(0)  # nothing is left to do, and somebody may wait while the interpreter takes itself apart
