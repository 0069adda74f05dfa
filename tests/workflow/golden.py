"""The golden corpus: each `data/{ok,err}/NAME.yml` has, in `NAME.out`, all that checking it says.

`PYTHONPATH=. python tests/workflow/golden.py` writes the .out files anew; look at the difference before keeping it.
"""

from __future__ import annotations

from pathlib import Path

from p2pwf.workflow import parse
from p2pwf.workflow.diagnostics import render

DATA = Path(__file__).parent / "data"


def findings(path: Path) -> str:
    """The findings of a file, one block each, as a person sees them."""
    data = path.read_bytes()
    source = data.decode("utf-8", "replace")
    parsed = parse(data, path.name)
    blocks = render(parsed.diagnostics, path.name, source)
    return "".join(line + "\n" for block in blocks for line in block)


def corpus() -> list[Path]:
    """All files of the corpus."""
    return sorted(DATA.glob("*/*.yml"))


if __name__ == "__main__":
    for path in corpus():
        path.with_suffix(".out").write_text(findings(path), encoding="utf-8")
