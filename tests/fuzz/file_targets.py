"""Files that a job, an action, or the owner of a machine writes, and p2pwf reads. As targets.

Each takes any bytes and fails only if something else comes out than a value or an error of ours of one line.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from p2pwf.config import CONFIG_FILE, policy_table, read_file
from p2pwf.core.ids import PeerId, parse_cid, public_key_of
from p2pwf.core.sign import Signer
from p2pwf.errors import P2pwfError, UsageError
from p2pwf.mcp.resources import _parts as parts_of_uri
from p2pwf.oneshot.dotenv import parse_dotenv
from p2pwf.policy import parse_policy
from p2pwf.runner import matchers
from p2pwf.runner.hashfiles import hash_files
from p2pwf.runner.native import node, python
from p2pwf.runner.native.versions import read_range, read_version
from p2pwf.workflow.action import parse_action
from p2pwf.workflow.cron import cron_fault, never_due

ME: Final = Signer(b"\6" * 32).peer_id


@cache
def _folder() -> Path:
    """One folder for as long as this process lives."""
    made = TemporaryDirectory(prefix="p2pwf-fuzz-")
    _kept.append(made)
    return Path(made.name)


_kept: list[TemporaryDirectory[str]] = []


def _file(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.write_bytes(data)
    return path


def _told(error: P2pwfError) -> None:
    assert error.message
    assert error.message.isprintable() or "\n" not in error.message


def action(data: bytes) -> None:
    """An action's file."""
    parsed = parse_action(data, "action.yml")
    assert (parsed.action is None) == any(finding.severity == "error" for finding in parsed.diagnostics)
    assert all(finding.line >= 1 and "\n" not in finding.message for finding in parsed.diagnostics)


def problem_matchers(data: bytes) -> None:
    """A file of problem matchers, and the rest of the input as what a step says."""
    try:
        read = list(matchers.parse_matchers(Path("matchers.json"), data))
    except UsageError as error:
        _told(error)
        return
    assert all(matcher.owner for matcher in read)


def configuration(data: bytes) -> None:
    """config.toml, its policy too."""
    _file(CONFIG_FILE, data)
    try:
        read_file(_folder())
        found = policy_table(_folder())
        if found is not None:
            assert parse_policy(found.table, "config.toml", found.text).rules
    except UsageError as error:
        _told(error)


def dotenv(data: bytes) -> None:
    """A file of variables or secrets, for `p2pwf run`."""
    try:
        assert all("\0" not in value for value in parse_dotenv(data.decode("utf-8", "replace"), "x").values())
    except UsageError as error:
        _told(error)


def version_file(data: bytes) -> None:
    """The files that name the version of a tool, and versions themselves."""
    for name in ("pyproject.toml", ".tool-versions", ".python-version"):
        with suppress(UsageError):
            assert all(isinstance(one, str) for one in python.versions_in(_file(name, data)) or [])
    text = data.decode("utf-8", "replace")
    for name in ("package.json", ".tool-versions", ".nvmrc"):
        with suppress(UsageError):
            assert isinstance(node.version_in(text, name), str)
    read_version(text)
    with suppress(UsageError):
        read_range(text)


def patterns(data: bytes) -> None:
    """Patterns of files to hash, in a small workspace."""
    workspace = _folder() / "workspace"
    if not workspace.exists():
        for name in ("a/b/c.txt", "a/[x].py", "d.lock"):
            (workspace / name).parent.mkdir(parents=True, exist_ok=True)
            (workspace / name).write_text(name)
        (workspace / "a/up").symlink_to("..")
    with suppress(UsageError):
        assert len(hash_files(workspace, data.decode("utf-8", "replace").split("\0"))) in (0, 64)


def names(data: bytes) -> None:
    """What people and programs name things by: links, peers, addresses of resources, times of a schedule."""
    text = data.decode("utf-8", "replace")
    with suppress(UsageError):
        assert parse_cid(text).text
    with suppress(P2pwfError):
        assert len(public_key_of(PeerId(text))) == 32
    assert all(parts_of_uri(text))
    if cron_fault(text) is None:
        never_due(text)


_COMPOSITE: Final = b"""name: a
description: b
inputs:
  x: {description: d, required: true, default: 'y'}
outputs:
  o: {description: d, value: '${{ steps.s.outputs.o }}'}
runs:
  using: composite
  steps:
    - {id: s, run: 'echo ${{ inputs.x }}', shell: bash, if: always()}
    - {uses: ./other, with: {a: b}}
"""
_NODE: Final = b"name: a\nruns: {using: node20, main: dist/index.js, pre: p.js, post: q.js, post-if: success()}\n"
_DOCKER: Final = b"name: a\nruns:\n  using: docker\n  image: Dockerfile\n  args: ['${{ inputs.a }}']\n  env: {A: b}\n"
_MATCHERS: Final = rb"""{"problemMatcher": [
  {"owner": "x", "severity": "error", "fromPath": "a", "pattern": [
    {"regexp": "^(.+):(\\d+): (.+)$", "file": 1, "line": 2, "message": 3, "loop": false}]},
  {"owner": "y", "pattern": [
    {"regexp": "^(.*)$", "file": 1},
    {"regexp": "(a+)+b", "message": 1, "code": 2, "severity": 3, "column": 4, "loop": true}]}]}"""
_CONFIG: Final = f"""name = "a"
listen = ["/ip4/0.0.0.0/tcp/1"]
slots = 2
mdns = true
executor = "native"
[policy.names]
ann = "{ME}"
[[policy.rule]]
from = ["own", "role:admin", "!ann"]
workflows = ["ci-*", "sha256:{"0" * 64}"]
labels = ["linux", "!gpu"]
secrets = []
isolation = "sandbox"
network = false
[[policy.rule]]
from = ["members"]
isolation = "process"
"""
_PYPROJECT: Final = b'[project]\nrequires-python = ">=3.11"\n[tool.poetry.dependencies]\npython = "^3.12"\n'
_PACKAGE: Final = b'{"engines": {"node": ">=20 <22"}, "volta": {"node": "20.1.0"}, "devEngines": {"runtime": []}}'
_RANGE: Final = b"v1.2.3-rc.1+b || ~1.2 - 3.x, >=2 !=2.1 *"

CORPORA: Final[dict[str, tuple[bytes, ...]]] = {
    "action": (_COMPOSITE, _NODE, _DOCKER),
    "problem_matchers": (_MATCHERS,),
    "configuration": (_CONFIG.encode(), b'[[policy.rule]]\nfrom = ["all"]\n'),
    "dotenv": (b"A=b\n# c\nexport B='c d' # e\nC=\"x\\ny\"\nD=\n", b"\xef\xbb\xbfA = b\r\nE='\nf'\n"),
    "version_file": (_PYPROJECT, _PACKAGE, _RANGE, b"python 3.12.1 3.11\nnodejs 20\n", b"lts/iron"),
    "patterns": (b"**/*.lock\n!a/**", b"a/[!x].py\0a/b/?.txt", b"--follow-symbolic-links\0**/c*", b"~/x\n../y\n# z"),
    "names": (
        b"bafyreieyuqd2g6fiqhxt3gpa6nlffeo4jokhp4etocpnwruhplzwckcciu",
        ME.encode(),
        b"p2pwf://runs/bafy/artifacts/a%2Fb/c",
        b"*/15 0-6,12 1,15 JAN-MAR MON#2",
    ),
}
"""What the inputs of a target are made of."""

FILE_TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "action": action,
    "problem_matchers": problem_matchers,
    "configuration": configuration,
    "dotenv": dotenv,
    "version_file": version_file,
    "patterns": patterns,
    "names": names,
}
