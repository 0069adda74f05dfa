"""Makes an image of this machine's own programs for the tests of level container: no registry is asked.

    python -m tests.runner.isolation.image

It has busybox's applets, bash and python3 with what they load, and no users. Needs busybox (its static package) and an
engine that works; prints the name of the image, or why there is none.
"""

from __future__ import annotations

import functools
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

NAME: Final = "localhost/p2pwf-test:2"
PATIENCE_S: Final = 120
PROGRAMS: Final = ("/bin/bash", "/usr/bin/python3")
SKIPPED: Final = frozenset(("test", "tests", "site-packages", "dist-packages", "__pycache__", "idlelib", "ensurepip"))


@functools.cache
def why_no_engine() -> str | None:
    """Why no container runs here as the level needs it, which this asks the engine alone; None if one can."""
    if engine() is None:
        return "neither docker nor podman works here"
    if busybox() is None:
        return "there is no static busybox to make an image of"
    try:
        make()
    except (OSError, subprocess.SubprocessError) as error:
        return f"the test's image cannot be made: {error}"
    network = f"p2pwf-test-{os.getpid()}"
    done = ask("network", "create", network)
    if done.returncode:
        return f"no network can be made here: {done.stderr[-300:]}"
    done = ask("run", "--rm", "--network", network, *ASKED, *LIMITS, NAME, "true")
    ask("network", "rm", network)
    return None if done.returncode == 0 else f"a container does not run here: {done.stderr[-300:]}"


ASKED: Final = ("--memory", "64m", "--memory-swap", "64m", "--pids-limit", "9", "--read-only", "--user", "60600:60600")
"""What engines cannot do everywhere: without control groups, or users of other numbers."""
LIMITS: Final = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=512:512")


def settings(folder: Path) -> None:
    """Have podman take runc, and limits that an ordinary container may set; what is set already stays."""
    if "CONTAINERS_CONF" in os.environ or shutil.which("podman") is None:
        return
    runtime = '[engine]\nruntime = "runc"\n' if shutil.which("runc") else ""
    path = folder / "containers.conf"
    path.write_text(f'{runtime}[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=512:512"]\n')
    os.environ["CONTAINERS_CONF"] = str(path)


@functools.cache
def engine() -> str | None:
    """The engine that answers here, in the runner's order."""
    for name, words in (("docker", ("version", "--format", "{{.Server.Version}}")), ("podman", ("info",))):
        program = shutil.which(name)
        if program is not None:
            done = subprocess.run([program, *words], capture_output=True, timeout=PATIENCE_S, check=False)
            if done.returncode == 0:
                return program
    return None


def ask(*words: str, data: bytes | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of the engine."""
    program = engine()
    assert program is not None
    done = subprocess.run([program, *words], input=data, capture_output=True, timeout=PATIENCE_S, check=False)
    out, errors = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    return subprocess.CompletedProcess(done.args, done.returncode, out, errors)


def busybox() -> str | None:
    """A busybox that needs no library."""
    for path in ("/usr/bin/busybox", "/bin/busybox", "/bin/busybox.static"):
        if os.access(path, os.X_OK) and not libraries(path):
            return path
    return None


def libraries(program: str) -> list[str]:
    """The files that the loader takes in for a program, itself among them; none for a static one."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    return re.findall(r"(/\S+) \(0x", done.stdout)


def make() -> None:
    """Import the image, unless it is there."""
    if ask("image", "inspect", NAME).returncode == 0:
        return
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            _fill(tar)
        file.seek(0)
        done = ask("import", "--change", "ENV PATH=/usr/bin:/bin", "-", NAME, data=file.read())
    if done.returncode:
        raise OSError(done.stderr[-300:])


def _fill(tar: tarfile.TarFile) -> None:
    static = busybox()
    assert static is not None
    seen: set[str] = set()

    def add(path: str, name: str | None = None) -> None:
        name = (name or path).lstrip("/")
        if name not in seen:
            seen.add(name)
            tar.add(os.path.realpath(path), name, recursive=False)

    for folder in ("tmp", "var/tmp", "proc", "sys", "dev", "etc", "github", "__w"):
        entry = tarfile.TarInfo(folder)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder.endswith("tmp") else 0o755
        tar.addfile(entry)
    shadow = b"root:*:1:0:99999:7:::\n"
    entry = tarfile.TarInfo("etc/shadow")
    entry.size, entry.mode = len(shadow), 0o640
    tar.addfile(entry, io.BytesIO(shadow))
    add(static, "/bin/busybox")
    for program in PROGRAMS:
        add(program)
        for library in libraries(program):
            add(library)
    entry = tarfile.TarInfo("usr/bin/python")
    entry.type, entry.linkname = tarfile.SYMTYPE, "python3"
    tar.addfile(entry)
    applets = subprocess.run([static, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if f"bin/{applet}" not in seen and applet not in ("bash", "busybox"):
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "/bin/busybox"
            tar.addfile(entry)
    # Of the system's own interpreter, which may not be the one that runs this.
    words = [PROGRAMS[1], "-I", "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"]
    library = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    for above, folders, files in os.walk(library):
        folders[:] = [folder for folder in folders if folder not in SKIPPED]
        for file in files:
            path = f"{above}/{file}"
            add(path)
            if file.endswith(".so"):
                for needed in libraries(path):
                    add(needed)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        settings(Path(folder))
        reason = why_no_engine()
    print(reason or NAME)
    return 0 if reason is None else 1


if __name__ == "__main__":
    sys.exit(main())
