"""A damaged event database: what can be read is kept, the damaged file set aside, and no cut-off start loses it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from p2pwf.store import salvage as module
from p2pwf.store.disk import DamagedFile
from p2pwf.store.events import Commit, EventStore
from p2pwf.store.salvage import read_meta, salvage
from tests.store.kit import event, flip

EVENTS = 300
PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "events.db"
    store = EventStore.open(path)
    for number in range(0, EVENTS, 10):
        store.commit(Commit(tuple(event(n) for n in range(number, number + 10)), {"network": b"n", "peer": b"p"}))
    store.close()
    return path


def held(path: Path) -> set[int]:
    store = EventStore.open(path)
    try:
        found = list(store.load())
        assert all(one == event(one.seq) for one in found)
        return {one.seq for one in found}
    finally:
        store.close()


def damage(path: Path, chance: random.Random) -> None:
    """Overwrite a page in the middle, until the store sees it."""
    while True:
        flip(path, PAGE * chance.randrange(2, path.stat().st_size // PAGE), 1000)
        try:
            EventStore.open(path).close()
        except DamagedFile:
            return


@pytest.mark.parametrize("seed", range(6))
def test_what_can_be_read_is_kept_and_the_damaged_file_is_set_aside(path: Path, seed: int) -> None:
    damage(path, random.Random(seed))
    whole = path.read_bytes()
    count, aside = salvage(path, {"restored": b"x"})
    assert held(path) <= set(range(EVENTS))
    assert count == len(held(path)) > EVENTS // 2
    assert (aside / path.name).read_bytes() == whole
    assert {name.name for name in path.parent.iterdir()} == {"events.db", "damaged-1"}
    assert read_meta(path)["restored"] == b"x"


def test_a_second_damage_is_set_aside_beside_the_first(path: Path) -> None:
    for number in (1, 2):
        damage(path, random.Random(number))
        assert salvage(path, {})[1].name == f"damaged-{number}"


def test_a_rebuilding_that_is_cut_off_goes_on_at_the_next_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(path, random.Random(1))
    read = len({one.cid for one in module._events(path)})

    def cut(_: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(module, "_set_aside", cut)
        salvage(path, {"restored": b"x"})
    with pytest.raises(DamagedFile):
        EventStore.open(path)
    assert salvage(path, {"restored": b"x"})[0] == read
    assert read_meta(path)["restored"] == b"x"


def test_of_a_file_that_is_no_database_nothing_is_read(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    path.write_bytes(random.Random(1).randbytes(100_000))
    assert read_meta(path) == {}
    assert list(module._events(path)) == []
