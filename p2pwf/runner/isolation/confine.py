"""Carries out a job's plan of isolation, in its supervisor (`begin`, once) and in each step before its exec (`enter`).

Standard library only, and raw system calls by ctypes: it is loaded by `reaper`, which runs without this package.
It decides nothing: who is kept apart from what stands in the plan, which `plan` makes. Whatever of a plan cannot be
done raises OSError, and then nothing is run: there is no lesser level to fall back to here.

The supervisor restricts itself by landlock, not each step: so all steps of a job are of one domain, and a step may
signal what an earlier one left. It stays outside of the sandbox's folders, but has its children born in the sandbox's
process namespace (setns(2) of a pid namespace counts for children), so it remains their parent and their reaper.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import select
import signal
import struct
import time

PLAN_VERSION = 1
PIPE_BYTES = 1 << 16
FIRST_FREE = 10
"""Descriptors from here on are in nobody's way while those of a new program are put in their places."""
START_PATIENCE_S = 20.0
"""How long bubblewrap may take to make a sandbox; it takes some 10 ms."""

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 4, 24, 38, 22
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, SECCOMP_MODE_FILTER = 47, 4, 2
LAST_CAPABILITY = 63
NS_GET_USERNS = 0xB701
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
SPACES = {"mnt": CLONE_NEWNS, "ipc": CLONE_NEWIPC, "uts": CLONE_NEWUTS, "net": CLONE_NEWNET, "cgroup": CLONE_NEWCGROUP}
SYS_LANDLOCK_CREATE, SYS_LANDLOCK_ADD, SYS_LANDLOCK_RESTRICT = 444, 445, 446
"""The same on every architecture, as all system calls since 2019."""
LANDLOCK_VERSION_FLAG, LANDLOCK_PATH_BENEATH = 1, 1
FS_EXECUTE, FS_WRITE_FILE, FS_READ_FILE, FS_READ_DIR = 1, 2, 4, 8
FS_TRUNCATE, FS_IOCTL_DEV = 1 << 14, 1 << 15
FS_OF_FILES = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV
FS_ALL_BY_ABI = (0, (1 << 13) - 1, (1 << 14) - 1, (1 << 15) - 1, (1 << 15) - 1, (1 << 16) - 1)
"""Kinds of access to files that the versions 1 to 5 of landlock know."""
SCOPES_FROM_ABI = 6
SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 1, 2
"""From that version on, abstract Unix sockets and signals can be kept to a domain."""

_libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> int:
    """The result of a call; raises OSError, which names it, if that failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, *arguments: int) -> None:
    """prctl(2); raises OSError."""
    words = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    check(_libc.prctl(option, *words), f"prctl {option}")


def syscall(number: int, *arguments: object) -> int:
    """A raw system call; -1 with errno set if it failed."""
    return int(_libc.syscall(ctypes.c_long(number), *arguments))


def landlock_abi() -> int:
    """The version of landlock that the kernel has; 0: none, or switched off."""
    return max(0, syscall(SYS_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(LANDLOCK_VERSION_FLAG)))


def restrict(read: list[str], write: list[str], devices: list[str], *, files: bool, signals: bool) -> None:
    """Let this process and all that it starts from now on reach these files only, if `files`, and in any case no
    abstract Unix socket outside, nor with `signals` a process, where the kernel can do that. Missing paths are passed
    over.

    Raises OSError if the kernel has no landlock, or cannot do any of it.
    """
    abi = landlock_abi()
    handled = FS_ALL_BY_ABI[min(abi, len(FS_ALL_BY_ABI) - 1)] if files else 0
    scoped = SCOPE_ABSTRACT_SOCKETS | (SCOPE_SIGNALS if signals else 0) if abi >= SCOPES_FROM_ABI else 0
    if files and not abi:
        raise OSError(0, "this kernel has no landlock")
    if not handled and not scoped:
        return
    attributes = struct.pack("=QQQ", handled, 0, scoped)
    size = 24 if abi >= SCOPES_FROM_ABI else 16 if abi >= 4 else 8
    rules = check(syscall(SYS_LANDLOCK_CREATE, attributes, ctypes.c_size_t(size), ctypes.c_uint(0)), "landlock")
    try:
        reading = FS_EXECUTE | FS_READ_FILE | FS_READ_DIR
        using = FS_READ_FILE | FS_WRITE_FILE | FS_READ_DIR | FS_TRUNCATE | FS_IOCTL_DEV
        for paths, access in ((read, reading), (write, handled), (devices, using)):
            for path in paths if files else ():
                _allow(rules, path, access & handled)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        check(syscall(SYS_LANDLOCK_RESTRICT, ctypes.c_int(rules), ctypes.c_uint(0)), "landlock_restrict_self")
    finally:
        os.close(rules)


def _allow(rules: int, path: str, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there need not be reached
    try:
        if not os.path.isdir(path):  # noqa: PTH112 - pathlib costs start-up time
            access &= FS_OF_FILES
        rule = struct.pack("=Qi", access, descriptor)
        check(
            syscall(SYS_LANDLOCK_ADD, ctypes.c_int(rules), ctypes.c_int(LANDLOCK_PATH_BENEATH), rule, ctypes.c_uint(0)),
            f"landlock {path}",
        )
    finally:
        os.close(descriptor)


def filter_calls(program: bytes) -> None:
    """Install a seccomp filter for this process and all that it becomes; raises OSError."""
    buffer = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    asked = Program(len(program) // 8, ctypes.addressof(buffer))
    check(_libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(asked), 0, 0), "seccomp")


def drop_capabilities() -> None:
    """Leave this process no capability that an exec could bring back, as far as it may drop them."""
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for capability in range(LAST_CAPABILITY + 1):
        if _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break  # the first that the kernel does not know, or this process may not drop any


class Confinement:
    """One job's plan, carried out. `plan`: JSON as `plan` writes it."""

    def __init__(self, plan: bytes) -> None:
        read = json.loads(plan)
        if read["version"] != PLAN_VERSION:
            raise OSError(0, "the plan of isolation is of another version: start the node again")
        self._plan = read
        self._groups: list[int] = []
        self._spaces: list[tuple[int, int]] = []
        """Namespaces that steps enter, in this order: descriptor and kind."""
        self.monitor = 0
        """The process of bubblewrap outside of the sandbox; 0: there is none."""
        self.init = 0
        """The first process inside."""
        self.user: int | None = read["uid"]
        self.apart: int | None = read["uid"] if read["sole_user"] else None
        """A user whose processes are all of this job."""

    def begin(self) -> None:
        """Confine this process as far as its children need; raises OSError."""
        plan = self._plan
        for path in plan["groups"]:
            self._groups.append(os.open(path + "/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
        if plan["sandbox"] is not None:
            self._make_sandbox(plan["sandbox"])
        else:
            self._share_with_nobody()
        prctl(PR_SET_DUMPABLE, 0)  # a step of the same user must not reach into this process
        land = plan["landlock"]
        if land is not None:
            # In a sandbox there is nobody else to signal, and this process has to reach what makes the sandbox.
            restrict(land["read"], land["write"], land["devices"], files=land["files"], signals=land["files"])

    def _share_with_nobody(self) -> None:
        """Segments of shared memory, semaphores and queues of messages are this job's own and go with it; where this
        process may not have that, its steps may use none."""
        if _libc.unshare(CLONE_NEWIPC) != 0:
            self._plan["seccomp"] = self._plan["alone"]

    def _make_sandbox(self, arguments: list[str]) -> None:
        info, info_end = _pipe()
        ready, ready_end = _pipe()
        self._hold, hold = _pipe(turned=True)  # our end closes with this process, and with it the sandbox ends
        errors, errors_end = _pipe()
        words, arguments_end = _pipe(turned=True)
        # Over a pipe: a command line is for everybody to see, the job among them. One that holds all of it at once.
        end_of_options = arguments.index("--")
        told = "".join(f"{word}\0" for word in arguments[1:end_of_options]).encode()
        fcntl.fcntl(words, fcntl.F_SETPIPE_SZ, max(PIPE_BYTES, len(told)))
        os.write(words, told)
        os.close(words)
        theirs = (hold, ready_end, errors_end, info_end, arguments_end)
        try:
            self.monitor = os.posix_spawn(
                arguments[0],
                [arguments[0], "--info-fd", "3", "--args", "4", *arguments[end_of_options:]],
                {"PATH": "/usr/bin:/bin"},
                file_actions=[(os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate(theirs)],
                setsid=True,
            )
        finally:
            for end in theirs:
                os.close(end)
        told_ready = _read_line(ready)
        child = json.loads(os.read(info, 4096) or b"{}").get("child-pid", 0)
        for end in (info, ready):
            os.close(end)
        if not told_ready or not child:
            reason = os.read(errors, 4096).decode(errors="replace").strip()
            raise OSError(0, reason.splitlines()[0] if reason else "bubblewrap does not start")
        os.close(errors)
        self.init = child
        self._enter_processes(child)

    def _enter_processes(self, child: int) -> None:
        """Have this process's children born in the sandbox; hold on to the rest of its namespaces."""
        # By descriptors, and not by the process: that is asked for anew each time, and landlock would forbid it then.
        self._spaces = [(_space(child, kind), SPACES[kind]) for kind in SPACES if _other_space(child, kind)]
        processes = _space(child, "pid")
        if _other_space(child, "user"):
            inner = _space(child, "user")
            owner = fcntl.ioctl(self._spaces[0][0], NS_GET_USERNS)
            if os.fstat(inner).st_ino != os.fstat(owner).st_ino:
                self._spaces.append((inner, CLONE_NEWUSER))  # one more was made in the one that owns the folders
            check(_libc.setns(owner, CLONE_NEWUSER), "setns user")
        check(_libc.setns(processes, CLONE_NEWPID), "setns pid")

    def enter(self, folder: bytes) -> None:
        """Make this process, a fresh child of the supervisor, one of the job; raises OSError. An exec comes next."""
        plan = self._plan
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for group in self._groups:
            os.write(group, b"0")
        os.umask(0o077)
        for name, bound in plan["rlimits"].items():
            _limit(getattr(resource, name), bound)
        for space, kind in self._spaces:
            check(_libc.setns(space, kind), "setns")
        drop_capabilities()
        if self.user is not None:
            os.setgroups([])
            os.setresgid(self.user, self.user, self.user)
            os.setresuid(self.user, self.user, self.user)
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of user resets it
        os.chdir(folder)  # as who the job is
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        if plan["seccomp"] is not None:
            filter_calls(bytes.fromhex(plan["seccomp"]))

    def end(self) -> None:
        """Kill all in the sandbox at once, or all of the job's own user; what is left of them is for the caller to
        collect."""
        if self.init:
            _kill(self.init)
        if self.apart is None:
            return
        try:
            pid = os.fork()
        except OSError:
            return  # what has the job's parents is killed without this
        if pid == 0:
            try:
                os.setresuid(self.apart, self.apart, self.apart)
                os.kill(-1, signal.SIGKILL)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)


def _pipe(*, turned: bool = False) -> tuple[int, int]:
    """A pipe: our end and theirs, which is the one to write to unless `turned`; out of the way of low numbers."""
    ends = os.pipe()
    ours, theirs = reversed(ends) if turned else ends
    high = fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE)
    os.close(theirs)
    return ours, high


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _limit(kind: int, bound: int) -> None:
    _, hard = resource.getrlimit(kind)
    most = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
    resource.setrlimit(kind, (most, most))


def _space(pid: int, kind: str) -> int:
    return os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


def _other_space(pid: int, kind: str) -> bool:
    here, there = (os.stat(f"/proc/{one}/ns/{kind}") for one in ("self", pid))  # noqa: PTH116 - as above
    return here.st_ino != there.st_ino


def _read_line(descriptor: int) -> bytes:
    """A line, however long it takes within reason; empty if the writer ends without one."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + START_PATIENCE_S
    while (left := deadline - time.monotonic()) > 0:
        if poll.poll(left * 1000):
            return os.read(descriptor, 64)
    return b""
