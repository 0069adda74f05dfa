"""The Merkle clock: which events are accepted, how they hang together, how two peers come to hold the same set."""

from p2pwf.clock.clock import Accepted, Clock, Invalid, Missing
from p2pwf.clock.dag import Dag, Node
from p2pwf.clock.pending import Pending

__all__ = ["Accepted", "Clock", "Dag", "Invalid", "Missing", "Node", "Pending"]
