"""Logs and artifacts of runs as an assistant reads them: addresses, texts and files, all bounded. Needs no MCP SDK.

Speaks to a node by the control client alone; blocking.

    p2pwf://runs/{workflow_id}/logs                       the end of what its jobs wrote
    p2pwf://runs/{workflow_id}/artifacts/{name}           the files of an artifact
    p2pwf://runs/{workflow_id}/artifacts/{name}/{+path}   one of them
"""

from __future__ import annotations

import logging
from base64 import b64decode
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from mimetypes import guess_type
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote, unquote

import attrs

from p2pwf.control.client import Client
from p2pwf.errors import NotFound, P2pwfError, Refused

SCHEME: Final = "p2pwf://runs/"
LOGS: Final = SCHEME + "{workflow_id}/logs"
ARTIFACT: Final = SCHEME + "{workflow_id}/artifacts/{name}"
ARTIFACT_FILE: Final = ARTIFACT + "/{+path}"

MAX_LOG: Final = 128 * 1024
"""Bytes of a log that are told, its end: about what an assistant can take in beside everything else."""
MAX_FILES: Final = 256
"""Files of an artifact that are told at once."""
MAX_CONTENT: Final = 1024 * 1024
"""Bytes of files that are told at once: in base64 and JSON still below what clients take in one message."""
RECENT_RUNS: Final = 20
"""Runs whose resources are listed; the others are reached by their ids."""
RECENT_ARTIFACTS: Final = 16
"""Artifacts that are listed of one run: a matrix may leave hundreds."""
MAX_ADDRESS: Final = 8192
"""Characters of a resource's address: a path of 4,096 bytes, quoted, has no business to be longer."""

_log = logging.getLogger(__name__)


@attrs.frozen
class Listed:
    """A resource that can be read."""

    uri: str
    name: str
    about: str
    kind: str | None = None
    size: int | None = None


@attrs.frozen
class Content:
    """What was read: text, or bytes that are none."""

    uri: str
    kind: str
    data: str | bytes


class RunResources:
    """The resources of the runs that a node knows. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._client = Client(folder)

    def recent(self) -> list[Listed]:
        """The resources of the newest runs, newest first; none without a node, which is said in the log."""
        found: list[Listed] = []
        try:
            for run in self._client.call("GET", "runs")[:RECENT_RUNS]:
                found += self._of(run)
        except P2pwfError as error:
            _log.warning("no resources to list: %s", error.message)
        return found

    def read(self, uri: str) -> list[Content]:
        """What lies at an address. Raises NotFound for an unknown one, Refused for what is too large, NoNode."""
        match _parts(uri):
            case [run, "logs"]:
                return [self._logs(uri, run)]
            case [run, "artifacts", name]:
                return self._artifact(run, name)
            case [run, "artifacts", name, *path]:
                return [self._file(uri, run, name, "/".join(path))]
            case _:
                raise NotFound(f"no resource {uri[:200]!r}", f"there are {LOGS}, {ARTIFACT} and {ARTIFACT_FILE}")

    def _of(self, run: dict[str, Any]) -> Iterator[Listed]:
        id, name = run["workflow_id"], run["name"] or "a run"
        about = f"what the jobs of {name} ({run['status']}) wrote; of a long log the end"
        yield Listed(_address(id, "logs"), f"{name}: log", about, "text/plain")
        latest = {one["name"]: one for one in self._client.call("GET", "runs", id, "artifacts")}
        for left, one in list(latest.items())[:RECENT_ARTIFACTS]:
            about = f"left by the job {one['job']} of {name}"
            yield Listed(_address(id, "artifacts", left), f"{name}: {left}", about, size=one["size"])

    def _logs(self, uri: str, run: str) -> Content:
        several = len(self._client.call("GET", "runs", run)["jobs"]) > 1
        kept: deque[str] = deque()
        held = left_out = 0
        with _closing(self._client.stream("runs", run, "logs")) as lines:
            for line in lines:
                text = f"{line['name']}: {line['text']}\n" if several else f"{line['text']}\n"
                kept.append(text)
                held += _size(text)
                while held > MAX_LOG and len(kept) > 1:
                    held -= _size(kept.popleft())
                    left_out += 1
        if held > MAX_LOG:  # one line alone
            kept[0] = "…" + kept[0].encode(errors="replace")[-MAX_LOG:].decode(errors="ignore")
        note = f"[{left_out} earlier lines left out; all of them: p2pwf workflow logs {run}]\n" if left_out else ""
        return Content(uri, "text/plain", note + "".join(kept))

    def _artifact(self, run: str, name: str) -> list[Content]:
        hint = f"`p2pwf workflow artifacts {run} --name {name} --download DIR`, or read one file: {ARTIFACT_FILE}"
        self._check(run, name)
        found: list[Content] = []
        left = MAX_CONTENT
        for path, data in self._files(run, name, None, MAX_CONTENT):
            left -= len(data)
            if left < 0 or len(found) == MAX_FILES:
                raise Refused(f"artifact {name!r} has more than {MAX_CONTENT:,} bytes or {MAX_FILES} files", hint)
            found.append(_content(_address(run, "artifacts", name, *path.split("/")), path, data))
        return found

    def _file(self, uri: str, run: str, name: str, path: str) -> Content:
        self._check(run, name)
        for found, data in self._files(run, name, path, MAX_CONTENT):
            if len(data) > MAX_CONTENT:
                hint = f"`p2pwf workflow artifacts {run} --name {name} --download DIR`"
                raise Refused(f"{found} is larger than {MAX_CONTENT:,} bytes", hint)
            return _content(uri, found, data)
        raise NotFound(f"no file {path!r} in artifact {name!r}", f"see {_address(run, 'artifacts', name)}")

    def _check(self, run: str, name: str) -> None:
        names = list(dict.fromkeys(one["name"] for one in self._client.call("GET", "runs", run, "artifacts")))
        if name not in names:
            raise NotFound(f"no artifact {name!r} in this run", f"its artifacts: {', '.join(names) or 'it has none'}")

    def _files(self, run: str, name: str, wanted: str | None, most: int) -> Iterator[tuple[str, bytes]]:
        """The files of an artifact, or the one of a path; of each at most `most` bytes and one more, if it has more.

        A link is told as the path that it points to.
        """
        path: str | None = None
        data = bytearray()
        with _closing(self._client.stream("runs", run, "artifacts", name)) as lines:
            for line in lines:
                if "data" in line:
                    if path is not None and len(data) <= most:
                        data += b64decode(line["data"])[: most + 1 - len(data)]
                    continue
                if path is not None:
                    yield path, bytes(data)
                path = line["path"] if wanted in (None, line["path"]) else None
                data = bytearray((line["target"] or "").encode())
        if path is not None:
            yield path, bytes(data)


def _closing(lines: Iterator[Any]) -> closing[Any]:
    """A stream that is hung up when enough was read of it."""
    return closing(cast("Any", lines))


def _parts(uri: str) -> list[str]:
    """The names in an address, unquoted; none if it is not one of ours."""
    if len(uri) > MAX_ADDRESS or not uri.startswith(SCHEME):
        return []
    parts = [unquote(part) for part in uri[len(SCHEME) :].split("/")]
    return parts if all(parts) else []


def _address(*parts: str) -> str:
    return SCHEME + "/".join(quote(part, safe="") for part in parts)


def _content(uri: str, path: str, data: bytes) -> Content:
    kind, _ = guess_type(path)
    try:
        return Content(uri, kind or "text/plain", data.decode())
    except UnicodeDecodeError:
        return Content(uri, kind or "application/octet-stream", data)


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))
