"""actions/cache, cache/restore and cache/save, from one job to the next."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from p2pwf.core.ids import Cid
from p2pwf.runner import Cache, RunnerEnv
from p2pwf.runner.manifest import FILE, LINK, SourceFile, build, parse
from p2pwf.runner.native import cache
from tests.runner.kit import Bench
from tests.runner.native import Place, lost

SHOW = "'${{ steps.c.outputs.cache-hit }} ${{ steps.c.outputs.cache-matched-key }}'"
USE = """
    - {id: c, uses: actions/cache@v4, with: {path: deps, key: k-1, restore-keys: k-}}
    - run: echo SHOW; cat deps/f 2>/dev/null || true; mkdir -p deps; echo hello > deps/f
""".replace("SHOW", SHOW)


@pytest.fixture
def place(bench: Bench) -> Place:
    return Place.at(bench)


async def test_a_miss_saves_after_the_job_and_a_hit_does_not(place: Place) -> None:
    first = await place.run(USE)
    assert [step.name for step in first.result.steps][-1] == "Post Run actions/cache@v4"
    assert [(one.key, len(one.version)) for one in first.result.caches] == [("k-1", 64)]
    assert "Cache not found for input keys: k-1, k-" in first.said()
    second = await place.run(USE)
    assert second.text(2).splitlines() == ["true k-1", "hello"]
    assert second.result.caches == ()
    assert "Cache hit occurred on the primary key k-1, not saving cache." in second.said()


async def test_a_restore_key_is_the_beginning_of_one_and_then_the_exact_one_is_saved(place: Place) -> None:
    await place.run(USE)
    ran = await place.run(USE.replace("k-1", "k-2"))
    assert ran.text(2).splitlines() == ["false k-1", "hello"]
    assert [one.key for one in ran.result.caches] == ["k-2"]


async def test_a_job_that_fails_saves_nothing(place: Place) -> None:
    ran = await place.run(USE + "\n    - run: exit 1")
    assert ran.result.caches == ()
    assert ran.outcomes() == ["success", "success", "failure", "skipped"]


async def test_save_and_restore_apart_within_a_job(place: Place) -> None:
    ran = await place.run(
        """
        - run: mkdir deps; echo x > deps/f
        - {uses: actions/cache/save@v4, with: {path: deps, key: K}}
        - {uses: actions/cache/save@v4, with: {path: deps, key: K}}
        - run: rm -r deps
        - {id: c, uses: actions/cache/restore@v3, with: {path: deps, key: K}}
        - run: cat deps/f; echo ${{ steps.c.outputs.cache-primary-key }}
        - {uses: actions/cache/save@v4, with: {path: gone, key: L}}
        """
    )
    assert ran.text(6).splitlines() == ["x", "K"]
    assert [one.key for one in ran.result.caches] == ["K"]
    assert any("a cache of the key K is there already" in line for line in ran.said())
    assert [message[:22] for message in ran.messages()] == ["Path Validation Error:"]


async def test_files_of_several_places_come_back_where_they_were(place: Place, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    steps = f"""
        - {{id: c, uses: actions/cache@v4, with: {{key: k, path: "here\\n~/.tool\\n{elsewhere}\\n**/mods"}}}}
        - if: "!steps.c.outputs.cache-hit"
          run: |
            mkdir -p here/.git/x here/empty p/mods q/mods ~/.tool/bin {elsewhere}
            echo 1 > here/.git/HEAD; echo 2 > ~/.tool/bin/run; chmod +x ~/.tool/bin/run; echo 3 > {elsewhere}/f
            echo 4 > p/mods/m; echo 5 > q/mods/m; ln -s ../nowhere here/link; touch -d 2001-02-03T04:05:06Z here/old
        - run: |
            cat here/.git/HEAD ~/.tool/bin/run {elsewhere}/f p/mods/m q/mods/m; readlink here/link
            date -u -r here/old +%F; test -x ~/.tool/bin/run && test -d here/empty && echo whole
    """
    whole = ["1", "2", "3", "4", "5", "../nowhere", "2001-02-03", "whole"]
    assert (await place.run(steps)).text(3).splitlines() == whole
    for path in (elsewhere / "f", place.home / ".tool" / "bin" / "run"):
        path.unlink()
    second = await place.run(steps)
    assert second.outcomes()[1] == "skipped"
    assert second.text(3).splitlines() == whole


async def test_the_version_is_of_the_paths_and_not_of_the_job_s_folder(place: Place) -> None:
    await place.run(USE)
    other = await place.run(USE.replace("path: deps", "path: others"))
    assert other.text(2).strip() == ""
    same = await place.run(USE.replace("path: deps", "path: '${{ github.workspace }}/deps'"), run="anotherrun")
    assert same.text(2).splitlines() == ["true k-1", "hello"]


async def test_lookup_only_brings_nothing_and_a_miss_may_fail(place: Place) -> None:
    await place.run(USE)
    ran = await place.run(
        """
        - {id: c, uses: actions/cache/restore@v4, with: {path: deps, key: k-1, lookup-only: true}}
        - run: echo SHOW; ls
        - {uses: actions/cache/restore@v4, with: {path: deps, key: zz, fail-on-cache-miss: true}}
        """.replace("SHOW", SHOW)
    )
    assert ran.text(2).splitlines() == ["true k-1"]
    assert ran.outcomes() == ["success", "success", "failure"]
    assert "Failed to restore cache entry" in ran.messages()[0]


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ("{path: a, key: 'a,b'}", "cannot contain commas"),
        (f"{{path: a, key: {'x' * 513}}}", "cannot be larger than 512 characters"),
        ('{path: a, key: k, restore-keys: "1\\n2\\n3\\n4\\n5\\n6\\n7\\n8\\n9\\n10"}', "limited to a maximum of 10"),
        ("{key: k}", "Input required and not supplied: path"),
        ("{path: a}", "Input required and not supplied: key"),
        ("{path: a, key: k, enableCrossOsArchive: perhaps}", "no boolean"),
    ],
)
async def test_keys_and_paths_that_cannot_be(place: Place, inputs: str, said: str) -> None:
    ran = await place.run(f"- {{uses: actions/cache@v4, with: {inputs}}}")
    assert ran.outcomes()[0] == "failure"
    assert said in ran.messages()[0]


async def test_a_cache_that_cannot_be_fetched_is_a_miss_with_a_warning(place: Place) -> None:
    await place.run(USE)

    def without_blobs(env: RunnerEnv) -> RunnerEnv:
        return attrs.evolve(env, fetch_blob=lost)

    ran = await place.run(USE, env=without_blobs)
    assert ran.result.conclusion == "success"
    assert ran.text(2).strip() == ""
    assert "Failed to restore the cache 'k-1': no peer that holds" in ran.messages()[0]


async def test_where_caches_are_not_kept_the_job_goes_on(place: Place) -> None:
    def alone(env: RunnerEnv) -> RunnerEnv:
        return attrs.evolve(env, store_folder=None, find_cache=None)

    ran = await place.run(USE, env=alone)
    assert ran.result.conclusion == "success"
    assert ran.messages() == ["Failed to save: caches are not kept here"]


async def test_what_is_too_much_is_not_saved_and_said(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pwf.runner.native.staging.MAX_FILES", 1)
    ran = await place.run(
        "- run: mkdir deps; touch deps/1 deps/2\n- {uses: actions/cache/save@v4, with: {path: deps, key: K}}"
    )
    assert ran.result.conclusion == "success"
    assert "Failed to save: the cache 'K' has over 1 files" in ran.messages()[0]


def forged(place: Place, files: dict[str, str], index: object) -> Cid:
    """A manifest as no honest peer makes it; texts that begin with -> are links."""
    entries = []
    with place.blobs.batch() as batch:
        for path, text in {**files, "index.json": json.dumps(index)}.items():
            if text.startswith("->"):
                entries.append(SourceFile(path, LINK, len(text) - 2, target=text[2:]))
            else:
                content = text.encode()
                entries.append(SourceFile(path, FILE, len(content), batch.put_bytes(content)))
        return batch.put_bytes(build(entries))


GOOD = {"v": 1, "times": {}, "folders": []}


@pytest.mark.parametrize(
    ("files", "index", "said"),
    [
        ({"home/.bashrc": "evil"}, GOOD, "it holds what the step does not name"),
        ({"root/etc/passwd": "evil"}, GOOD, "it holds what the step does not name"),
        ({"nowhere/deps/f": "evil"}, GOOD, "it holds what the step does not name"),
        ({"workspace/other": "evil"}, GOOD, "it holds what the step does not name"),
        ({"workspace/deps/f": "x"}, [], "its index.json is none"),
        ({"workspace/deps/f": "x"}, {"v": 1, "times": [], "folders": []}, "its index.json is none"),
        ({"workspace/deps/f": "x"}, {**GOOD, "v": 2}, "of another form"),
    ],
)
async def test_a_forged_cache_changes_nothing(place: Place, files: dict[str, str], index: object, said: str) -> None:
    version = (await place.run(USE)).result.caches[0].version
    place.caches = [Cache(key="k-1", version=version, link=forged(place, files, index), size=4)]
    ran = await place.run(USE.replace("cat deps/f 2>/dev/null || true", "ls"))
    assert ran.text(2).strip() == ""
    assert said in ran.messages()[0]
    assert not list(place.home.iterdir())


async def test_what_an_index_says_beside_files_is_bounded_to_the_step_s_paths(place: Place) -> None:
    version = (await place.run(USE)).result.caches[0].version
    index = {"v": 1, "times": {"workspace/deps/f": -5, "x": 1}, "folders": ["home/made", "workspace/deps/in", 7]}
    link = forged(place, {"workspace/deps/f": "x", "workspace/deps/to": "->/etc"}, index)
    place.caches = [Cache(key="k-1", version=version, link=link, size=4)]
    ran = await place.run(USE.replace("cat deps/f 2>/dev/null || true", "ls deps; readlink deps/to"))
    assert ran.text(2).splitlines()[1:] == ["f", "in", "to", "/etc"]
    assert not list(place.home.iterdir())


async def test_a_cache_has_the_layout_that_its_page_tells(place: Place) -> None:
    ran = await place.run(
        """
        - run: mkdir -p deps/.GIT% deps/none ~/.t; echo x > deps/.GIT%/f; touch ~/.t/g
        - {uses: actions/cache/save@v4, with: {path: "deps\\n~/.t", key: K}}
        """
    )
    tree = parse(place.blobs.path(ran.result.caches[0].link).read_bytes())
    assert [file.path for file in tree.files] == ["home/.t/g", "index.json", "workspace/deps/.GIT%%/f"]
    (cid,) = (file.cid for file in tree.files if file.path == "index.json")
    assert cid is not None
    index = json.loads(place.blobs.path(cid).read_bytes())
    assert index["folders"] == ["workspace/deps/none"]
    assert sorted(index["times"]) == ["home/.t/g", "workspace/deps/.GIT%%/f"]


async def test_in_a_composite_action_a_cache_is_saved_after_the_job(place: Place) -> None:
    action = """
        name: a
        runs:
          using: composite
          steps:
            - {uses: actions/cache@v4, with: {path: deps, key: inner}}
            - {uses: actions/checkout@v4, with: {path: below}}
    """
    ran = await place.run(
        "- uses: ./act\n- run: ls; mkdir -p deps; cp below/act/action.yml deps", source={"act/action.yml": action}
    )
    assert ran.result.conclusion == "success", ran.messages()
    assert [one.key for one in ran.result.caches] == ["inner"]


SECRET_KEY = """
    - uses: actions/cache@v4
      with: {path: deps, key: 'k-${{ secrets.S }}-1', restore-keys: 'k-${{ secrets.S }}'}
    - run: cat deps/f 2>/dev/null || true; mkdir -p deps; echo hello > deps/f
"""


async def test_t46_a_key_that_holds_a_secret_is_kept_without_it_and_found_by_the_same_secret(place: Place) -> None:
    first = await place.run(SECRET_KEY, secrets={"S": "open-sesame"})
    assert [one.key for one in first.result.caches] == ["k-___-1"]
    assert "The key of the cache holds a secret: it is kept as 'k-___-1'" in first.messages()
    second = await place.run(SECRET_KEY, secrets={"S": "open-sesame"})
    assert second.text(2) == "hello"
    assert second.result.caches == ()


async def test_t46_the_key_of_a_cache_shows_a_secret_without_the_guard(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "hidden_name", lambda _, given: given)
    first = await place.run(SECRET_KEY, secrets={"S": "open-sesame"})
    assert [one.key for one in first.result.caches] == ["k-open-sesame-1"]
