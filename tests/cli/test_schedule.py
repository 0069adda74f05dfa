"""`p2pwf schedule` against a real server."""

from __future__ import annotations

from tests.cli.test_commands import answer, here, workflow
from tests.control.kit import START, node


async def test_a_schedule_is_added_listed_and_removed() -> None:
    async with node() as (api, folder):
        code, out, _ = await here(folder, "schedule", "list")
        assert (code, out) == (0, "no schedules\n")
        file = workflow(folder)
        made = await answer(folder, "schedule", "add", file, "--name", "backup", "--peer", "attic", "--label", "disk")
        assert made["schedule_id"].startswith("bafy")
        (asked,) = api.requests
        assert (asked.file, asked.name, asked.peer, asked.labels) == (file, "backup", "attic", ("disk",))
        api.planned[0].update(missed=[START, START + 60_000], error="the matrix is empty")
        _, out, _ = await here(folder, "schedule", "list")
        assert "30 5 * * *" in out
        assert "missed 2" in out
        assert "the matrix is empty" in out
        code, out, _ = await here(folder, "schedule", "remove", "backup")
        assert (code, "fires no more" in out) == (0, True)
        assert await answer(folder, "schedule", "list") == []
        assert len(await answer(folder, "schedule", "list", "--all")) == 1
        code, _, err = await here(folder, "schedule", "remove", "ghost")
        assert (code, "p2pwf schedule list" in err) == (4, True)
