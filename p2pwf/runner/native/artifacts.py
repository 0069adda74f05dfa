"""The artifacts of a run as one of its jobs sees them: its own at once, those of others once they are known.

A later artifact takes the place of an earlier one of its name. The id that actions exchange is made of what the
artifact is, so that every job of the run tells the same one.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from p2pwf.errors import UsageError
from p2pwf.runner.masking import MASK
from p2pwf.runner.native.context import NativeContext
from p2pwf.runner.values import Artifact

MAX_NAME: Final = 256
"""Bytes of a name: an event holds no longer one."""
HIDDEN: Final = "___"
"""What stands for a secret in a name: one may not have asterisks."""
FORBIDDEN: Final = '":<>|*?\r\n'
"""Characters that some file system does not have in names; a name of an artifact has no slashes either."""


async def known(context: NativeContext) -> dict[str, Artifact]:
    """The artifacts of the run by name, as far as this job knows them."""
    state = context.state
    others = () if state.env.artifacts is None else await state.env.artifacts()
    return {one.name: one for one in (*others, *state.artifacts)}


def artifact_id(artifact: Artifact) -> str:
    """The number of an artifact: of 48 bits, so that expressions write all of its digits."""
    return str(int(sha256(f"{artifact.name}\0{artifact.link.text}".encode()).hexdigest()[:12], 16))


def hidden_name(context: NativeContext, given: str) -> str:
    """A name, or a pattern of names, without the secrets in it: `___` stands for each.

    A name is told to the whole network and becomes that of a folder, where GitHub's stays with GitHub. Whoever asks for
    it with the same secret finds it under the same name.
    """
    masked = context.state.masker.mask(given)
    return given if masked == given else masked.replace(MASK, HIDDEN)


def check_name(name: str) -> None:
    """Raise UsageError for a name that no artifact can have."""
    bad = next((one for one in name if one in FORBIDDEN + "\\/" or not one.isprintable()), None)
    if bad is not None:
        raise UsageError(
            f"The artifact name is not valid: {name[:80]}. Contains the following character: {bad!r}",
            'a name has none of " : < > | * ? \\ / and no line break',
        )
    if not name or len(name.encode("utf-8", "replace")) > MAX_NAME or name in (".", ".."):
        raise UsageError(f"The artifact name is not valid: {name[:80]!r}", f"it has 1 to {MAX_NAME} bytes")
