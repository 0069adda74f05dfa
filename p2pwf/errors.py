"""The exception tree of p2pwf: every error a person may see, with its hint and its exit code.

Imports nothing of the package: everything else may import this module.
Each class fixes whose fault it is (the caller's input, a remote peer, this machine, our own bug), the exit code of
the command line and a stable `code`, the word that the control API and `--json` carry.
"""

from __future__ import annotations

from typing import ClassVar


class P2pwfError(Exception):
    """Base of all errors that p2pwf raises on purpose.

    `message` says what happened and where, on one line; `hint`, where there is one, says what to do next.
    """

    code: ClassVar[str] = "bug"
    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def to_json(self) -> dict[str, str | None]:
        """The error as the control API carries it: {code, message, hint}."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class UsageError(P2pwfError):
    """The caller's input is wrong: an option, an argument, a setting."""

    code = "usage"
    exit_code = 2


class InvalidWorkflow(UsageError):
    """The workflow file does not check; `diagnostics` lists every finding, in file order."""

    code = "invalid_workflow"

    def __init__(self, message: str, hint: str | None = None, diagnostics: tuple[dict[str, object], ...] = ()) -> None:
        super().__init__(message, hint)
        self.diagnostics = diagnostics


class NoNode(P2pwfError):
    """No node answers on the control socket."""

    code = "no_node"
    exit_code = 3


class NotFound(P2pwfError):
    """No run, job, peer or file has that name."""

    code = "not_found"
    exit_code = 4


class Refused(P2pwfError):
    """Understood and refused: a right is missing, a state forbids it, a ticket is used up."""

    code = "refused"
    exit_code = 5


class TryAgain(P2pwfError):
    """Not now: overloaded, not synced yet, a resource is busy. Nothing was changed."""

    code = "try_again"
    exit_code = 6


class StorageError(TryAgain):
    """This machine's disk refused or damaged data. Nothing that was acknowledged is lost by this error."""

    code = "storage"


class Overloaded(TryAgain):
    """This node has all the work that it takes in at a time; whoever brings more is to wait. Nothing was changed."""

    code = "overloaded"


class RemoteError(P2pwfError):
    """A remote peer broke a protocol: drop the peer, never the node."""

    code = "remote"
    exit_code = 6


class InternalError(P2pwfError):
    """Our own bug: please report it."""


BY_CODE: dict[str, type[P2pwfError]] = {
    cls.code: cls
    for cls in (
        UsageError,
        InvalidWorkflow,
        NoNode,
        NotFound,
        Refused,
        TryAgain,
        StorageError,
        Overloaded,
        RemoteError,
        InternalError,
    )
}


def from_json(data: dict[str, object]) -> P2pwfError:
    """Rebuild an error from what `P2pwfError.to_json` made; an unknown code gives `InternalError`."""
    cls = BY_CODE.get(str(data.get("code")), InternalError)
    hint = data.get("hint")
    return cls(str(data.get("message", "unknown error")), str(hint) if hint else None)
