"""Gets the images of a job: with the workflow's own login, and where the job is kept apart with no other.

Whoever may run a job here names its images. Without this an engine's command line would try the logins that the node's
user has at registries, and podman takes names that mean files of this machine.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import shutil
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio

from p2pwf.errors import UsageError
from p2pwf.runner.containers import Spec
from p2pwf.runner.engines import Engine

PULLS: Final = 3
"""Tries to pull an image."""
TRANSPORTS: Final = frozenset((
    "atomic", "containers-storage", "dir", "docker", "docker-archive", "docker-daemon", "oci", "oci-archive", "ostree",
    "sif", "tarball",
))  # fmt: skip
"""What podman takes for a kind of place before a colon: most are on this machine."""
REFERENCE: Final = re.compile(
    r"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?/)?[a-z0-9][a-z0-9._-]*(?:/[a-z0-9][a-z0-9._-]*)*"
    r"(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
"""The name of an image at a registry. Source: the reference grammar of the Open Container Initiative's distribution."""


def check_reference(image: str) -> None:
    """Raise UsageError for what is no image of a registry."""
    if not REFERENCE.fullmatch(image) or image.partition(":")[0] in TRANSPORTS:
        raise UsageError(f"not an image of a registry: {image[:200]}", "an image is named like ubuntu:24.04")


async def pull(engine: Engine, step: int, spec: Spec) -> None:
    """Get an image, after a wait again if need be; raises UsageError."""
    if engine.state.loan is not None:
        check_reference(spec.image)
    wait = engine.state.env.limits.container_s
    async with _login(engine, step, spec) as variables:
        for attempt in range(1, PULLS + 1):
            status, _ = await engine.ask(step, "pull", spec.image, variables=variables)
            if status == 0:
                return
            if attempt < PULLS:
                said = f"{engine.name} pull failed with exit code {status}, once more in {wait:g} s"
                engine.state.warning(step, said)
                await trio.sleep(wait)
                wait *= 2
    raise UsageError(
        f"the image {spec.image} cannot be pulled", "is its name right, and does this peer reach its registry?"
    )


@asynccontextmanager
async def _login(engine: Engine, step: int, spec: Spec) -> AsyncIterator[Mapping[str, str]]:
    """Variables by which an engine's command line finds the logins that it may use; none: those of its user."""
    has_own = bool(spec.username and spec.password)
    if engine.state.loan is None and not has_own:
        yield {}
        return
    logins = {}
    if has_own:
        login = b64encode(f"{spec.username}:{spec.password}".encode()).decode()
        logins[spec.registry] = {"auth": login}
    folder = tempfile.mkdtemp(prefix="_login-", dir=engine.state.folders.root)
    try:
        path = trio.Path(folder) / "config.json"
        await path.write_text(json.dumps({"auths": logins}))
        variables = {"DOCKER_CONFIG": folder, "REGISTRY_AUTH_FILE": str(path)}
        if engine.name == "docker" and "DOCKER_HOST" not in os.environ:
            # The user's own settings, which that variable hides, may say where the engine is.
            words = ("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
            status, lines = await engine.ask(step, *words, show=False)
            if status == 0 and lines:
                variables["DOCKER_HOST"] = lines[0].strip()
        yield variables
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def in_memory(engine: Engine, step: int, image: str, binds: Sequence[str] = ()) -> tuple[str, ...]:
    """Options that keep the folders in memory for which an image has an engine make volumes: these are room on the
    machine's disk that nobody counts, and memory is counted. `binds`: the options that mount folders of the job.

    Raises UsageError for a volume in such a folder: the engine, which may do more than the job, would make its place.
    """
    mounted = [word.partition("target=")[2].partition(",")[0] for word in binds if "target=" in word]
    words = ("image", "inspect", "--format", "{{json .Config.Volumes}}", image)
    lines = await engine.must(step, f"the image {image} cannot be inspected", *words, show=False)
    declared = json.loads(lines[0]) if lines else None
    found = sorted(declared) if isinstance(declared, dict) else []
    for path in found:
        if not path.startswith("/") or "," in path or ":" in path:
            raise UsageError(f"the image {image} has a volume that cannot be bounded: {path[:200]}")
        plain = posixpath.normpath("/" + path.lstrip("/"))
        if any(plain == top or plain.startswith(top + "/") for top in mounted):
            raise UsageError(f"the image {image} has a volume in a folder of the job's: {path[:200]}")
    return tuple(word for path in found for word in ("--tmpfs", path))
