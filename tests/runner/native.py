"""A place for the tests of native actions: jobs of one run, one after the other, that share blobs and caches."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs

from p2pwf.core.ids import Cid, blob_cid
from p2pwf.errors import NotFound
from p2pwf.oneshot.blobs import FolderBlobs
from p2pwf.runner import Artifact, Cache, RunnerEnv, Stored, read_log, run_job
from p2pwf.runner.manifest import FILE, SourceFile, build
from p2pwf.runner.pack import pack
from p2pwf.workflow import Value
from tests.runner.kit import Bench, Ran, make_request, workflow

FACTS: Mapping[str, Value] = {"sha": "a" * 40, "ref": "refs/heads/main", "repository": "me/tool"}


@attrs.define
class Place:
    """What the jobs of a run share. `artifacts` and `caches`: of the jobs that have ended, in order."""

    bench: Bench
    blobs: FolderBlobs
    home: Path
    artifacts: list[Artifact] = attrs.field(factory=list)
    caches: list[Cache] = attrs.field(factory=list)

    @classmethod
    def at(cls, bench: Bench) -> Place:
        """A new one in the bench's folder, with an empty home."""
        home = bench.root / "home"
        home.mkdir()
        return cls(bench, FolderBlobs(bench.root / "shared"), home)

    def source(self, files: Mapping[str, str]) -> Cid:
        """The manifest of a source of these files."""
        with self.blobs.batch() as batch:
            found = []
            for path, text in files.items():
                content = textwrap.dedent(text).encode()
                batch.put_bytes(content)
                found.append(SourceFile(path, FILE, len(content), blob_cid(content)))
            return batch.put_bytes(build(found))

    def base(self) -> dict[str, str]:
        """The variables that a step starts from."""
        return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.home), "LANG": "C.UTF-8"}

    async def fetch(self, cid: Cid) -> Path:
        return self.blobs.path(cid)

    async def store(self, folder: Path, chosen: frozenset[str] | None) -> Stored:
        return pack(folder, chosen, self.blobs)

    async def known(self) -> tuple[Artifact, ...]:
        return tuple(self.artifacts)

    async def find(self, keys: tuple[str, ...], version: str) -> Cache | None:
        """As a node does: whole first, then as a beginning, one key after the other, the newest cache first."""
        for key in keys:
            for fits in (key.__eq__, lambda name, key=key: name.startswith(key)):
                for cache in reversed(self.caches):
                    if cache.version == version and fits(cache.key):
                        return cache
        return None

    async def run(
        self,
        steps: str,
        *,
        source: Mapping[str, str] | None = None,
        base: Mapping[str, str] | None = None,
        facts: Mapping[str, Value] | None = None,
        env: Callable[[RunnerEnv], RunnerEnv] = lambda env: env,
        **request: Any,
    ) -> Ran:
        """Run a job of these steps. `env` may change where it runs."""
        asked = make_request(workflow(steps), facts={**FACTS, **(facts or {})})
        if source is not None:
            asked = attrs.evolve(asked, source=self.source(source))
        asked = attrs.evolve(asked, **request)
        with closing(self.bench.new_log()) as log:
            place = attrs.evolve(
                self.bench.env(log),
                base=base or self.base(),
                fetch_blob=self.fetch,
                store_folder=self.store,
                artifacts=self.known,
                find_cache=self.find,
            )
            result = await run_job(asked, env(place))
        self.artifacts += result.artifacts
        self.caches += result.caches
        return Ran(result, tuple(read_log(log.path)), self.bench.root)


async def lost(cid: Cid) -> Path:
    """A network on which nobody has a blob any more."""
    raise NotFound(f"no peer that holds {cid} is known")
