"""What judging one file may cost: a bound on the work, whatever the file is made of. Knows nothing of workflows.

The unit is about what it takes to read one node of a YAML file, one or two microseconds; what is dearer counts as
so many of them. A file of 256 KiB, the most there may be, that is full of jobs as people write them takes nine tenths
of the bound; real files are a hundredth as long.
"""

from __future__ import annotations

from typing import Final

MAX_EFFORT: Final = 100_000
"""About a tenth of a second."""
NODE: Final = 2
"""For each entry's key, its value, and each item: read, and checked."""
MAPPING: Final = 9
"""For each mapping beside its entries: its shape is found out, and a step may be made of it."""
JOB: Final = 25
"""For each job."""
EXPRESSION: Final = 7
"""For each expression: the names in it are looked up."""
TOKEN: Final = 3
"""For each token of an expression that was not met before."""
LONG: Final = 1000
"""Characters from which on each of an expression's costs one as well: no person writes such."""
WRONG: Final = 25
"""For each key, value or expression that is none: it is told where and why."""
EDGE: Final = 4
"""For each job that another one needs: cycles are looked for."""
SCHEDULE: Final = 30
"""For each schedule: whether it is ever due."""
PATTERN: Final = 2
"""For each character of a filter's pattern, and twice for each pattern: it is taken apart."""
COMPARISON: Final = 1
"""For each value of a matrix that is compared with one of a filter."""


class TooComplex(Exception):
    """The bound is reached."""


class Effort:
    """Counts the work on one file."""

    def __init__(self, bound: int = MAX_EFFORT) -> None:
        self._left = bound

    def spend(self, work: int) -> None:
        """Count some work that is about to be done; raises TooComplex once the bound is reached."""
        self._left -= work
        if self._left < 0:
            raise TooComplex
