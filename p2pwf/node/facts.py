"""Under which names a data folder holds what its node is: its key's file, and the values in its event database; and how
long a run's blobs stay there.

Constants only, so that whatever looks at a data folder without a node can have them for nothing.
"""

from __future__ import annotations

from typing import Final

IDENTITY: Final = "identity.key"
NETWORK: Final = "network"
INTRODUCER: Final = "introducer"
PSK: Final = "psk"
PEER: Final = "peer"
"""Whose folder it is: a store goes with one key, since its chain of events does."""
NAME: Final = "name"
PIN_MS: Final = 90 * 24 * 3600 * 1000
"""A run's blobs stay for 90 days at its runner and its submitter."""
