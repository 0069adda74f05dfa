"""Several errors of one workflow as one: all that is wrong with it is told at once. Knows no nodes and no jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from p2pwf.errors import InvalidWorkflow
from p2pwf.workflow.diagnostics import MAX_DIAGNOSTICS, Diagnostic, Place


class Faults:
    """Gathers errors, each once, and raises them together; of more than MAX_DIAGNOSTICS the rest is counted."""

    def __init__(self) -> None:
        self._errors: dict[tuple[int, int, str], InvalidWorkflow] = {}
        self._found: dict[tuple[int, int, str], dict[str, object]] = {}
        self._more = 0

    @contextmanager
    def gather(self) -> Iterator[None]:
        """Keep an error from inside for `settle`, and go on behind it."""
        try:
            yield
        except InvalidWorkflow as error:
            self.add(error)

    def add(self, error: InvalidWorkflow) -> None:
        """Keep an error for `settle`."""
        for one in error.diagnostics or (Diagnostic(1, 1, "error", error.code, error.message, error.hint).to_json(),):
            key = (cast(int, one["line"]), cast(int, one["column"]), str(one["message"]))
            if key in self._found:
                continue
            if len(self._found) == MAX_DIAGNOSTICS:
                self._more += 1
                continue
            self._found[key] = one
            self._errors[key] = error

    def settle(self) -> None:
        """Raise what was gathered, if anything was, in file order; the message is that of the first."""
        if not self._found:
            return
        order = sorted(self._found, key=lambda key: key[:2])
        line, column, message = order[0]
        more = len(order) - 1 + self._more
        if not more:
            raise self._errors[order[0]]
        message = f"line {line}, column {column}: {message} (and {more} more)"
        raise InvalidWorkflow(message, self._errors[order[0]].hint, tuple(self._found[key] for key in order))


class Elsewhere(InvalidWorkflow):
    """An error of another file, told at the place of this one that leads to it."""

    @classmethod
    def of(cls, error: InvalidWorkflow, file: str, place: Place) -> Elsewhere:
        """The error as that of `file`, at a `place` of this one; what was moved once stays as it is."""
        if isinstance(error, Elsewhere):
            return error
        here = {"line": place.line, "column": place.column}
        found = tuple(
            {**one, **here, "message": f"{file}:{one['line']}:{one['column']}: {one['message']}"}
            for one in error.diagnostics
            if one["severity"] == "error"
        )
        named = error.message if error.message.startswith(f"{file}:") else f"{file}: {error.message}"
        return cls(named, error.hint, found)
