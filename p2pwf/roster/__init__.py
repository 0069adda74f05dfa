"""Who is a member, with which roles, name, labels and slots: a pure function of a set of membership events."""

from p2pwf.roster.evaluate import evaluate, extended
from p2pwf.roster.roster import EMPTY, Cut, Member, Membership, Roster

__all__ = ["EMPTY", "Cut", "Member", "Membership", "Roster", "evaluate", "extended"]
