"""The runs that simulated networks of real nodes are given: workflow files, by the names that `testing.shapes` has.

What the simulated runner makes of a job is in its name: one called `bad` fails, `find` puts out a list of three.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_STEP: Final = "    runs-on: {on}\n    steps: [{{run: 'true'}}]\n"


def _job(name: str, *, on: str = "linux", **keys: str) -> str:
    said = "".join(f"    {key.replace('_', '-')}: {value}\n" for key, value in keys.items())
    return f"  {name}:\n{said}{_STEP.format(on=on)}"


def _workflow(*jobs: str, concurrency: str | None = None) -> str:
    group = "" if concurrency is None else f"concurrency: {concurrency}\n"
    return f"on: push\n{group}jobs:\n{''.join(jobs)}"


_FOUR: Final = "{matrix: {n: [1, 2, 3, 4]}}"
_EACH: Final = (
    "  find:\n    runs-on: linux\n    outputs: {list: '${{ steps.a.outputs.list }}'}\n"
    "    steps: [{id: a, run: 'true'}]\n"
    "  each:\n    needs: find\n    strategy: {matrix: {n: '${{ fromJSON(needs.find.outputs.list) }}'}}\n"
    "    runs-on: linux\n    steps: [{run: 'true'}]\n"
)
_ALWAYS: Final = {"if": "always()"}
_DEPLOY: Final = "{group: Deploy}"

WORKFLOWS: Final[Mapping[str, str]] = {
    "one": _workflow(_job("one")),
    "chain": _workflow(_job("build"), _job("test", needs="build", strategy=_FOUR), _job("ship", needs="test")),
    "parallel": _workflow(
        _job("a", strategy="{max-parallel: 2, matrix: {n: [1, 2, 3]}}"),
        _job("b", strategy="{max-parallel: 2, matrix: {n: [1, 2]}}"),
        _job("c", needs="[a, b]"),
    ),
    "dynamic": _workflow(_EACH, _job("sum", needs="each")),
    "failing": _workflow(_job("bad"), _job("after", needs="bad"), _job("always", needs="bad", **_ALWAYS)),
    "nowhere": _workflow(_job("a", on="nowhere")),
    "nowhere then always": _workflow(
        _job("a", on="nowhere", strategy="{matrix: {n: [1, 2, 3]}}"), _job("b", needs="a", **_ALWAYS)
    ),
    "always dynamic": _workflow(_EACH.replace("needs: find\n", "needs: find\n    if: always()\n")),
    "ci": _workflow(_job("one"), concurrency="ci"),
    "ci, two waves": _workflow(_job("a"), _job("b"), _job("c", needs="[a, b]"), concurrency="CI"),
    "ci, cancels": _workflow(_job("a"), _job("b", needs="a"), concurrency="{group: ci, cancel-in-progress: true}"),
    "ci, queues": _workflow(
        _job("a"),
        _job("b", needs="a", strategy="{matrix: {n: [1, 2]}}"),
        concurrency="{group: ci, queue: max}",
    ),
    "deploys": _workflow(_job("build"), _job("deploy", needs="build", concurrency=_DEPLOY)),
    "ci, deploys": _workflow(
        _job("deploy", strategy="{matrix: {n: [1, 2, 3]}}", concurrency=_DEPLOY), concurrency="ci"
    ),
    "deploys, cancels": _workflow(
        _job("deploy", concurrency="{group: deploy, cancel-in-progress: true}"), _job("end", needs="deploy")
    ),
    "deploys, queues": _workflow(_job("deploy", concurrency="{group: deploy, queue: max}")),
}
