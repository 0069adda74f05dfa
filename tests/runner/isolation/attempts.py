"""What jobs try in order to get out, and a program that runs all of it inside a level of isolation.

    python -m tests.runner.isolation.attempts LEVEL FOLDER [without-network]

prints one JSON object: what got out, by name. Run as root and as another user; at level `none` it shows that an attempt
is a real one. Around the job stands what it must not reach: a folder with a key and a control socket, another job's
file, an abstract Unix socket, a service on loopback, and this process, which has a secret in its environment.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

import attrs
import trio

from p2pwf.isolation import Level
from p2pwf.runner import open_spawner, run_job
from p2pwf.runner.isolation.keeper import Keeper
from tests.runner.isolation import image
from tests.runner.kit import Bench, make_request, workflow

OUT: Final = "GOT-OUT"
PYTHON: Final = "/usr/bin/python3 -c"

_SYSCALL = (
    PYTHON + ' "import ctypes,os; l=ctypes.CDLL(None,use_errno=True); l.syscall({call}); e=ctypes.get_errno(); '
    "print('" + OUT + "' if e not in (1,38) else e)\""
)
_SOCKET = PYTHON + " \"import socket,os; s=socket.socket({kind}); s.connect({to}); print('" + OUT + "')\""

ATTEMPTS: Final = {
    "read the key": f"cat $KEY && echo {OUT}",
    "read the key by a link": f"ln -s $KEY link; cat link && echo {OUT}",
    "read the key by a hard link": f"ln $KEY hard; cat hard && echo {OUT}",
    "read the key by the node's root": f"cat /proc/$NODE/root/$KEY && echo {OUT}",
    "list the data folder": f"ls $DATA/ | grep key && echo {OUT}",
    "write to the data folder": f"echo x > $DATA/planted && echo {OUT}",
    "rename the data folder": f"mv $DATA $DATA.x && mv $DATA.x $DATA && echo {OUT}",
    "read another job's file": f"cat $OTHER && echo {OUT}",
    "write another job's file": f"echo x >> $OTHER && echo {OUT}",
    "change the event": f"echo x >> $GITHUB_EVENT_PATH && echo {OUT}",
    "connect to the control socket": _SOCKET.format(kind="socket.AF_UNIX", to="os.environ['CONTROL']"),
    "connect to an abstract socket": _SOCKET.format(kind="socket.AF_UNIX", to="chr(0)+os.environ['ABSTRACT']"),
    "connect to loopback": _SOCKET.format(kind="", to="('127.0.0.1',int(os.environ['PORT']))"),
    "read the node's environment": f"grep -a s3cret /proc/$NODE/environ && echo {OUT}",
    "read the node's memory map": f"cat /proc/$NODE/maps | grep . && echo {OUT}",
    "open the node's memory": f"{PYTHON} \"import os; open('/proc/%s/mem' % os.environ['NODE'],'rb'); print('{OUT}')\"",
    "see the node's descriptors": f"ls -l /proc/$NODE/fd | grep ' -> ' && echo {OUT}",
    "see the node's command line": f"cat /proc/$NODE/cmdline | tr '\\0' ' ' | grep . && echo {OUT}",
    "signal the node": f"kill -0 $NODE && echo {OUT}",
    "trace the node": _SYSCALL.format(
        call="101 if os.uname().machine=='x86_64' else 117,0x4206,int(os.environ['NODE']),0,0"
    ).replace("not in (1,38)", "not in (1,3,38)"),
    "enter the node's namespaces": f"nsenter -t $NODE -m true && echo {OUT}",
    "make a user namespace": f"unshare -U true && echo {OUT}",
    "make a mount namespace": f"unshare -m true && echo {OUT}",
    "have capabilities": f"grep -E 'Cap(Prm|Eff|Amb).*[1-9a-f]' /proc/self/status && echo {OUT}",
    "get privileges by exec": f"grep 'NoNewPrivs:.*0' /proc/self/status && echo {OUT}",
    "become root": f"{PYTHON} \"import os; os.setresuid(0,0,0); print('{OUT}' if os.getuid()==0 else 1)\"",
    "read the passwords": f"cat /etc/shadow && echo {OUT}",
    "write to the system": f"touch /usr/bin/p2pwf-planted && rm /usr/bin/p2pwf-planted && echo {OUT}",
    "change the kernel": f"{PYTHON} \"import os; os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY); "
    f"print('{OUT}')\"",
    "make a device": f"mknod dev b 7 0 && echo {OUT}",
    "leave the control group": f'{PYTHON} "import glob,os; [os.open(f, os.O_WRONLY) for f in '
    f"glob.glob('/sys/fs/cgroup/**/cgroup.procs', recursive=True)[:1] or 1/0]; print('{OUT}')\"",
    "dump core": f'[ "$(ulimit -Hc)" != 0 ] && echo {OUT}',
    "use an inherited descriptor": f"ls /proc/self/fd | grep -vxE '[0-3]' && echo {OUT}",
    "type into a terminal": f'{PYTHON} "import os,pty,fcntl,termios; m,s=pty.openpty(); os.setsid() if os.fork()==0 '
    "else (os.wait(), os._exit(0)); fcntl.ioctl(s,termios.TIOCSCTTY,0); fcntl.ioctl(s,termios.TIOCSTI,b'x'); "
    f"print('{OUT}')\"",
    "read a terminal": f"{PYTHON} \"import os; os.open(os.environ['TERMINAL'], os.O_RDONLY | os.O_NOCTTY | "
    f"os.O_NONBLOCK); print('{OUT}')\"",
    "read shared memory by name": f"cat $SHARED && echo {OUT}",
    "read shared memory by number": _SYSCALL.format(
        call="30 if os.uname().machine=='x86_64' else 196,int(os.environ['SEGMENT']),None,0o10000"
    ).replace("not in (1,38)", "== 0"),
    "open a queue of messages": _SYSCALL.format(
        call="240 if os.uname().machine=='x86_64' else 180,os.environ['QUEUE'].encode(),0"
    ).replace("not in (1,38)", "== 0"),
    "set a limit of the node": f"{PYTHON} \"import os,resource; resource.prlimit(int(os.environ['NODE']), "
    f"resource.RLIMIT_CPU, (resource.RLIM_INFINITY,) * 2); print('{OUT}')\"",
    "use the key ring": _SYSCALL.format(call="248 if os.uname().machine=='x86_64' else 217,b'user',b'k',b'v',1,-3"),
    "use io_uring": _SYSCALL.format(call="425,1,ctypes.create_string_buffer(120)"),
    "use bpf": _SYSCALL.format(call="321 if os.uname().machine=='x86_64' else 280,0,None,0"),
    "watch the processor": _SYSCALL.format(call="298 if os.uname().machine=='x86_64' else 241,None,0,-1,-1,0"),
    "open by handle": _SYSCALL.format(call="304 if os.uname().machine=='x86_64' else 265,0,None,0"),
    "use the kernel's ciphers": f"{PYTHON} \"import socket; socket.socket(38, 5); print('{OUT}')\"",
    "talk to the machine's host": f"{PYTHON} \"import socket; socket.socket(40, 1); print('{OUT}')\"",
}
ALLOWED: Final = {
    Level.process: frozenset(("see the node's command line", "connect to loopback")),
    Level.sandbox: frozenset(("connect to loopback",)),
    Level.container: frozenset(),
}
"""What a level does not promise to keep a job from, while it has a network."""


@attrs.frozen
class Surroundings:
    """What stands around a job that must not reach it."""

    data: Path
    other: Path
    abstract: str
    port: int
    terminal: str
    shared: str
    segment: int
    queue: str

    def variables(self) -> dict[str, str]:
        return {
            "DATA": str(self.data),
            "KEY": str(self.data / "identity.key"),
            "CONTROL": str(self.data / "control.sock"),
            "OTHER": str(self.other),
            "ABSTRACT": self.abstract,
            "PORT": str(self.port),
            "NODE": str(os.getpid()),
            "TERMINAL": self.terminal,
            "SHARED": self.shared,
            "SEGMENT": str(self.segment),
            "QUEUE": self.queue,
        }


def surround(folder: Path, stack: ExitStack) -> Surroundings:
    """Put everything there; sockets close with the stack."""
    data = folder / "data"
    data.mkdir(0o700)
    (data / "identity.key").write_text("the key")
    (data / "identity.key").chmod(0o600)
    control = stack.enter_context(socket.socket(socket.AF_UNIX))
    control.bind(str(data / "control.sock"))
    abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
    name = f"p2pwf-{os.getpid()}"
    abstract.bind(f"\0{name}")
    service = stack.enter_context(socket.socket())
    service.bind(("127.0.0.1", 0))
    for listener in (control, abstract, service):
        listener.listen(64)
    own, terminal = os.openpty()
    stack.callback(os.close, own)
    stack.callback(os.close, terminal)
    shared = Path("/dev/shm") / name  # noqa: S108 - ours alone
    shared.touch(0o600)
    stack.callback(shared.unlink)
    libc = ctypes.CDLL(None, use_errno=True)
    segment = libc.shmget(0, 4096, 0o600)
    stack.callback(libc.shmctl, segment, 0, None)
    queue = libc.mq_open(f"/{name}".encode(), os.O_CREAT | os.O_RDWR, 0o600, None)
    stack.callback(libc.mq_unlink, f"/{name}".encode())
    stack.callback(os.close, queue)
    assert segment >= 0
    return Surroundings(
        data=data,
        other=folder / "work" / "other" / "file",
        abstract=name,
        port=service.getsockname()[1],
        terminal=os.ttyname(terminal),
        shared=str(shared),
        segment=segment,
        queue=name,
    )


async def attempt(level: Level, folder: Path, network: bool, wanted: frozenset[str] | None = None) -> dict[str, str]:
    """Run the attempts in one job, each a step of its own; what each printed, by name."""
    folder.joinpath("work").mkdir()
    names = [name for name in ATTEMPTS if wanted is None or name in wanted]
    with ExitStack() as stack:
        around = surround(folder, stack)
        async with open_spawner() as spawner:
            if level is Level.container:
                image.settings(folder)
            keeper = Keeper(folder / "work", image=image.NAME)
            await trio.to_thread.run_sync(keeper.prepare)
            root = keeper.root(level)
            other = root / "other" / "file"
            other.parent.mkdir(0o700, exist_ok=True)
            other.write_text("of another job")
            around = attrs.evolve(around, other=other)
            bench = Bench(folder, spawner)
            steps = "".join(
                f"- {{name: {json.dumps(name)}, continue-on-error: true, run: {json.dumps(ATTEMPTS[name])}}}\n"
                for name in names
            )
            with closing(bench.new_log()) as log:
                env = attrs.evolve(bench.env(log), isolation=level, network=network, keeper=keeper, work_root=root)
                request = attrs.evolve(make_request(workflow(steps)), env=around.variables())
                result = await run_job(request, env)
            before = [step.name for step in result.steps].index(names[0])  # the containers' start is a step as well
            assert len(result.steps) >= before + len(names), (result.error, log.path.read_text()[-2000:])
            other.unlink()
            other.parent.rmdir()
            keeper.close()
    said = dict.fromkeys(names, "")
    for line in map(json.loads, log.path.read_text().splitlines()):
        if line["stream"] in ("stdout", "stderr"):
            place = line["step"] - before - 1
            if 0 <= place < len(names):
                said[names[place]] += line["text"] + "\n"
    return said


def main() -> None:
    level, folder = Level[sys.argv[1]], Path(sys.argv[2])
    said = trio.run(attempt, level, folder, "without-network" not in sys.argv)
    print(json.dumps({"user": os.getuid(), "said": said}))


if __name__ == "__main__":
    main()
