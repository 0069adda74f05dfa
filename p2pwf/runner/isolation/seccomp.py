"""The filter of system calls for isolated steps: a classic BPF program, written by hand, and the same for container
engines, in their words. Pure.

Small on purpose: it takes away what no job needs and what reaches around the other guards, and nothing that a build, a
browser's test or a debugger asks for within its own job. Source of the form: seccomp(2), <linux/filter.h>,
<linux/seccomp.h>, and the runtime specification of the Open Container Initiative; of the numbers: the kernel's tables
for each architecture.
"""

from __future__ import annotations

import json
import platform
import struct
from collections.abc import Mapping
from errno import ENOSYS, EPERM
from typing import Final

import attrs

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW: Final = 0x7FFF0000
ERRNO: Final = 0x00050000
OFFSET_NUMBER, OFFSET_ARCH, OFFSET_ARGUMENTS = 0, 4, 16
X32: Final = 0x40000000
"""From this number on, calls of x86_64's second, 32-bit face."""
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
"""Put input into a terminal, as if its user had typed it."""
AF_UNIX, AF_ALG, AF_VSOCK = 1, 38, 40
NEW_SPACES: Final = 0x7E020080
"""clone(2)'s flags for namespaces of every kind: each opens more of the kernel to whoever has one."""

NEVER: Final = (
    "add_key", "bpf", "delete_module", "finit_module", "fsconfig", "fsmount", "fsopen", "fspick", "init_module",
    "io_uring_enter", "io_uring_register", "io_uring_setup", "kexec_file_load", "kexec_load", "keyctl", "mount",
    "mount_setattr", "move_mount", "name_to_handle_at", "open_by_handle_at", "open_tree", "perf_event_open",
    "pivot_root", "quotactl", "reboot", "request_key", "setns", "swapoff", "swapon", "umount2", "unshare",
    "userfaultfd",
)  # fmt: skip
"""Refused with EPERM: the kernel's own doors. io_uring is among them because it makes sockets past any filter."""
SHARING: Final = (
    "mq_open", "mq_unlink", "msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "shmat",
    "shmctl", "shmget",
)  # fmt: skip
"""What processes share by numbers and names that no permission of a folder keeps from others of the same user."""


@attrs.frozen(slots=True)
class Machine:
    """An architecture: its name for audit, and its numbers of calls (those since 2019 are the same everywhere)."""

    arch: int
    numbers: Mapping[str, int]


_NEW: Final = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "clone3": 435, "mount_setattr": 442,
}  # fmt: skip
MACHINES: Final = {
    "x86_64": Machine(0xC000003E, {
        **_NEW, "ioctl": 16, "socket": 41, "clone": 56, "pivot_root": 155, "mount": 165, "umount2": 166, "swapon": 167,
        "swapoff": 168, "reboot": 169, "init_module": 175, "delete_module": 176, "quotactl": 179, "kexec_load": 246,
        "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272, "perf_event_open": 298,
        "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308, "finit_module": 313,
        "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323, "prlimit64": 302, "shmget": 29, "shmat": 30,
        "shmctl": 31, "semget": 64, "semop": 65, "semctl": 66, "msgget": 68, "msgsnd": 69, "msgrcv": 70, "msgctl": 71,
        "semtimedop": 220, "mq_open": 240, "mq_unlink": 241,
    }),
    "aarch64": Machine(0xC00000B7, {
        **_NEW, "ioctl": 29, "umount2": 39, "mount": 40, "pivot_root": 41, "quotactl": 60, "unshare": 97,
        "kexec_load": 104, "init_module": 105, "delete_module": 106, "reboot": 142, "socket": 198, "add_key": 217,
        "request_key": 218, "keyctl": 219, "clone": 220, "swapon": 224, "swapoff": 225, "perf_event_open": 241,
        "name_to_handle_at": 264, "open_by_handle_at": 265, "setns": 268, "finit_module": 273, "bpf": 280,
        "userfaultfd": 282, "kexec_file_load": 294, "prlimit64": 261, "mq_open": 180, "mq_unlink": 181, "msgget": 186,
        "msgctl": 187, "msgrcv": 188, "msgsnd": 189, "semget": 190, "semctl": 191, "semtimedop": 192, "semop": 193,
        "shmget": 194, "shmctl": 195, "shmat": 196,
    }),
}  # fmt: skip


def program(
    *, unix_sockets: bool = True, limits: bool = True, sharing: bool = True, machine: str | None = None
) -> bytes | None:
    """The filter for this machine, ready for the kernel (8 bytes an instruction); None for an unknown architecture.

    `unix_sockets`: whether a job may make Unix sockets that have an address (a pair without one it always may);
    `limits`: whether it may set limits of other processes, of which one ends them; `sharing`: whether it may use what
    SHARING names.
    """
    known = MACHINES.get(machine or platform.machine())
    if known is None:
        return None
    number = known.numbers
    lines: list[bytes] = [
        *_when(OFFSET_ARCH, JUMP_EQUAL, known.arch, skip_if=True, then=_refuse(EPERM)),  # programs of another one
        *_when(OFFSET_NUMBER, JUMP_AT_LEAST, X32, skip_if=False, then=_refuse(ENOSYS)),
        # Its flags lie in memory, where no filter sees them; every libc then falls back to clone.
        *_when(OFFSET_NUMBER, JUMP_EQUAL, number["clone3"], skip_if=False, then=_refuse(ENOSYS)),
        *_argument(number["clone"], 0, JUMP_ANY_BIT, NEW_SPACES),
        *_argument(number["ioctl"], 1, JUMP_EQUAL, TIOCSTI),
        *_argument(number["ioctl"], 1, JUMP_EQUAL, TIOCLINUX),
        *_argument(number["socket"], 0, JUMP_EQUAL, AF_ALG),
        *_argument(number["socket"], 0, JUMP_EQUAL, AF_VSOCK),
    ]
    if not unix_sockets:
        lines += _argument(number["socket"], 0, JUMP_EQUAL, AF_UNIX)
    if not limits:
        lines += _argument(number["prlimit64"], 0, JUMP_EQUAL, 0, skip_if=True)
    for name in (*NEVER, *(() if sharing else SHARING)):
        lines += _when(OFFSET_NUMBER, JUMP_EQUAL, number[name], skip_if=False, then=_refuse(EPERM))
    return b"".join((*lines, _line(RETURN, ALLOW)))


def profile(machine: str | None = None) -> str | None:
    """The same filter, Unix sockets allowed, as JSON for `--security-opt seccomp=FILE`; None as above."""
    name = machine or platform.machine()
    if name not in MACHINES:
        return None
    whole = 0xFFFFFFFF  # what the kernel takes of these arguments
    bits = [1 << bit for bit in range(32) if NEW_SPACES & 1 << bit]
    rules = [
        {"names": list(NEVER), "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS},
        *(_masked("clone", 0, bit, bit) for bit in bits),
        *(_masked("ioctl", 1, whole, request) for request in (TIOCSTI, TIOCLINUX)),
        *(_masked("socket", 0, whole, family) for family in (AF_ALG, AF_VSOCK)),
    ]
    return json.dumps(
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": [f"SCMP_ARCH_{name.upper()}"],
            "syscalls": rules,
        }
    )


def _masked(name: str, index: int, mask: int, value: int) -> dict[str, object]:
    """Refuse a call if its argument, masked, is a value."""
    condition = {"index": index, "op": "SCMP_CMP_MASKED_EQ", "value": mask, "valueTwo": value}
    return {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM, "args": [condition]}


def _line(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)


def _refuse(number: int) -> bytes:
    return _line(RETURN, ERRNO | number)


def _when(offset: int, jump: int, operand: int, *, skip_if: bool, then: bytes) -> tuple[bytes, ...]:
    """Do `then` if the word at an offset compares, or unless it does with `skip_if`."""
    return _line(LOAD, offset), _line(jump, operand, int(skip_if), int(not skip_if)), then


def _argument(number: int, index: int, jump: int, operand: int, *, skip_if: bool = False) -> tuple[bytes, ...]:
    """Refuse a call whose argument compares, or unless it does with `skip_if`; its lower half, on a little-endian
    machine, is what the kernel takes."""
    inner = _when(OFFSET_ARGUMENTS + 8 * index, jump, operand, skip_if=skip_if, then=_refuse(EPERM))
    return _line(LOAD, OFFSET_NUMBER), _line(JUMP_EQUAL, number, 0, len(inner)), *inner
