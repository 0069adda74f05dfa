"""The matrix of a job: from `strategy.matrix` as a value to its legs. Knows values only.

Source: GitHub's documentation of matrices and the open runner's `MatrixBuilder`: the cross product in declared order,
the last key turning fastest; `exclude` and the known keys of `include` match a leg partially and deeply, leaf against
leaf with the expression language's `==`; what an `include` adds never overwrites a value of the cross product, and
an entry that matches no leg becomes a leg of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import attrs

from p2pwf.workflow.expr.values import Value, equal, fold, is_primitive, to_number, to_string

MAX_LEGS: Final = 256
"""Jobs that one matrix may make, GitHub's bound."""
MAX_WORK: Final = 300_000
"""Combinations times values that they are compared with, for one matrix: some hundredths of a second, since values of
a key are compared once, not for each combination. A full matrix of 256 jobs with fifty entries under `include` takes a
twentieth of it."""
MAX_NAME: Final = 100
"""Characters of a leg's name, GitHub's bound; a longer one ends in an ellipsis."""
MAX_MATRIX_DEPTH: Final = 16
"""Nesting of a value in a leg: a plan carries it inside a block of bounded depth."""

Matrix = dict[str, Value]


class MatrixError(ValueError):
    """The matrix is not one; `path` leads to the offending part: keys, and indexes as numbers."""

    def __init__(self, message: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.path = path


@attrs.frozen(slots=True)
class _Filter:
    leaves: tuple[tuple[tuple[str | int, ...], Value], ...]
    known: Mapping[str, Value]
    extra: Mapping[str, Value]

    def matches(self, vectors: Mapping[str, Sequence[Value]], having: Mapping[str, Sequence[int]], among: int) -> int:
        """Those of the combinations `among` that have all its leaves; see `_having`."""
        leaves: dict[str, list[tuple[tuple[str | int, ...], Value]]] = {}
        for (key, *path), leaf in self.leaves:
            leaves.setdefault(str(key), []).append((tuple(path), leaf))
        for key, wanted in leaves.items():
            fitting = 0
            for value, combinations in zip(vectors[key], having[key], strict=True):
                if all(equal(_at(value, path), leaf) for path, leaf in wanted):
                    fitting |= combinations
            among &= fitting
        return among

    @property
    def work(self) -> int:
        return 1 + len(self.leaves)


def build_legs(matrix: Value) -> list[tuple[Matrix, tuple[str, ...]]]:
    """The legs of a matrix, each with the segments of its name; raises MatrixError.

    `matrix` is the evaluated `strategy.matrix`: a mapping of key to array, with `include` and `exclude` apart.
    """
    if not isinstance(matrix, Mapping):
        raise MatrixError("Expected a mapping for the matrix")
    vectors, include, exclude = _parts(matrix)
    filters = [_filter(entry, vectors, ("include", index)) for index, entry in enumerate(include)]
    excluded = [_exclusion(entry, vectors, ("exclude", index)) for index, entry in enumerate(exclude)]
    size = math.prod(map(len, vectors.values())) if vectors else 0
    if size * (1 + sum(rule.work for rule in (*filters, *excluded))) > MAX_WORK:
        raise MatrixError("The matrix has too many combinations and filters to go through")
    having = _having(vectors, size)
    left = (1 << size) - 1
    for rule in excluded:
        left &= ~rule.matches(vectors, having, left)
    _bound(left.bit_count())
    found = {index: _combination(vectors, size, index) for index in _bits(left)}
    extras: dict[int, Matrix] = {index: {} for index in found}
    alone: list[Matrix] = []
    for rule in filters:
        matched = rule.matches(vectors, having, left)
        for index in _bits(matched):
            extras[index].update(rule.extra)
        if not matched:
            alone.append({**rule.known, **rule.extra})
    _bound(len(found) + len(alone))
    legs = [({**leg, **extras[index]}, segments_of(leg)) for index, leg in found.items()]
    return legs + [(leg, segments_of(leg)) for leg in alone]


def _having(vectors: Mapping[str, Sequence[Value]], size: int) -> dict[str, list[int]]:
    """For each value of each vector the combinations that have it, as a set of bits: what filters are made of."""
    having: dict[str, list[int]] = {}
    block = size
    for key, values in vectors.items():
        period, block = block, block // len(values)
        repeated = ((1 << size) - 1) // ((1 << period) - 1)
        having[key] = [(((1 << block) - 1) << (number * block)) * repeated for number in range(len(values))]
    return having


def _combination(vectors: Mapping[str, Sequence[Value]], size: int, index: int) -> Matrix:
    leg: Matrix = {}
    block = size
    for key, values in vectors.items():
        block //= len(values)
        leg[key] = values[index // block % len(values)]
    return leg


def _bits(number: int) -> Iterator[int]:
    """The positions of the bits that are set, from the lowest."""
    while number:
        low = number & -number
        yield low.bit_length() - 1
        number ^= low


def check_legs(matrix: Value, spend: Callable[[int], None]) -> None:
    """Raise MatrixError where `build_legs` would; `spend` is told of how many comparisons it takes, before."""
    if isinstance(matrix, Mapping):
        vectors, include, exclude = _parts(matrix)
        size = math.prod(map(len, vectors.values()))
        if not include and not exclude and size <= MAX_LEGS:
            return  # nothing to compare, and nothing to build to see that
        # As much as if every entry named all keys; and every combination that is left may get what an entry adds.
        spend((len(include) + len(exclude)) * (sum(map(len, vectors.values())) + min(size, MAX_LEGS) // 8))
    build_legs(matrix)


def _bound(legs: int) -> None:
    if legs > MAX_LEGS:
        raise MatrixError(f"The matrix makes more than {MAX_LEGS} jobs")


def _parts(matrix: Mapping[str, Value]) -> tuple[dict[str, Sequence[Value]], Sequence[Value], Sequence[Value]]:
    vectors: dict[str, Sequence[Value]] = {}
    filters: dict[str, Sequence[Value]] = {"include": (), "exclude": ()}
    for key, values in matrix.items():
        if isinstance(values, (str, Mapping)) or not isinstance(values, Sequence):
            raise MatrixError(f"Expected a sequence for the matrix key '{key}'", (key,))
        if key in filters:
            filters[key] = values
        elif not values:
            raise MatrixError(f"Matrix vector '{key}' does not contain any values", (key,))
        else:
            _check_depth(values, (key,))
            vectors[key] = values
    if not vectors and not filters["include"]:
        raise MatrixError("Matrix must define at least one vector")
    return vectors, filters["include"], filters["exclude"]


def _check_depth(value: Value, path: tuple[str | int, ...], depth: int = 0) -> None:
    if depth > MAX_MATRIX_DEPTH:
        raise MatrixError(f"Nested deeper than {MAX_MATRIX_DEPTH} levels", path)
    if isinstance(value, Mapping):
        for item in value.values():
            _check_depth(item, path, depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_depth(item, path, depth + 1)
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isfinite(to_number(value)):
        raise MatrixError("NaN and infinities cannot be values of a matrix", path)


def _filter(entry: Value, vectors: Mapping[str, Sequence[Value]], path: tuple[str | int, ...]) -> _Filter:
    if not isinstance(entry, Mapping):
        raise MatrixError(f"Expected a mapping in the matrix {path[0]}", path)
    if not entry:
        raise MatrixError("Matrix include mapping does not contain any values", path)
    _check_depth(entry, path)
    names = {fold(name): name for name in vectors}
    known = {names[fold(key)]: value for key, value in entry.items() if fold(key) in names}
    extra = {key: value for key, value in entry.items() if fold(key) not in names}
    return _Filter(tuple(_leaves(known, ())), known, extra)


def _exclusion(entry: Value, vectors: Mapping[str, Sequence[Value]], path: tuple[str | int, ...]) -> _Filter:
    if isinstance(entry, Mapping) and not entry:
        raise MatrixError("Matrix exclude filter must not be empty", path)
    made = _filter(entry, vectors, path)
    for key in made.extra:
        raise MatrixError(f"Matrix exclude key '{key}' does not match any key within the matrix", (*path, key))
    return made


def _leaves(value: Value, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Value]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    else:
        yield path, value


def _at(value: Value, path: tuple[str | int, ...]) -> Value:
    for key in path:
        if isinstance(value, Mapping):
            name = str(key)
            if name not in value:
                name = next((known for known in value if fold(known) == fold(name)), name)
            value = value.get(name)
        elif isinstance(value, (list, tuple)) and isinstance(key, int):
            value = value[key] if key < len(value) else None
        else:
            return None
    return value


def segments_of(leg: Value) -> tuple[str, ...]:
    """The primitive values of a leg as they enter its name, in order, however deep they are."""
    return tuple(text for _, leaf in _leaves(leg, ()) if is_primitive(leaf) and (text := to_string(leaf)))


def leg_name(job_name: str, segments: Sequence[str]) -> str:
    """The name of a leg: `job (a, b)`, at most MAX_NAME characters."""
    name = f"{job_name} ({', '.join(segments)})" if segments else job_name
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 3] + "..."
