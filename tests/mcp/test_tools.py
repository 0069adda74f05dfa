"""The ten tools as an assistant uses them: the SDK's client, `p2pwf mcp` on stdio, a real node."""

from __future__ import annotations

from inspect import signature
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from mcp.shared.exceptions import MCPError
from mcp_types import TextResourceContents

from p2pwf import __version__
from p2pwf.mcp import TOOLS, P2PWorkflowTools
from p2pwf.mcp.schemas import SPECS, STATUSES, WORKFLOW
from tests.control.kit import MemoryApi, served
from tests.e2e.kit import Node
from tests.mcp.kit import ERAS, call, ended, on_stdio, short_folder

OTHER = "12D3KooWD3bfmNbuuuVCYwkjnFt3ukm3qaB3hDED3peHHXawvRAi"


def test_schemas_name_the_parameters_that_the_methods_have() -> None:
    assert tuple(SPECS) == TOOLS
    for name, spec in SPECS.items():
        parameters = dict(list(signature(getattr(P2PWorkflowTools, name)).parameters.items())[1:])
        assert list(spec.takes["properties"]) == list(parameters), name
        needed = [one.name for one in parameters.values() if one.default is one.empty]
        assert spec.takes["required"] == needed, name
        for schema in (spec.takes, spec.gives):
            Draft202012Validator.check_schema(schema)
        for field, value in spec.takes["properties"].items():
            assert value["description"], (name, field)


@pytest.mark.parametrize("era", ERAS)
async def test_a_workflow_from_its_file_to_its_log(node: Node, file: Path, era: str) -> None:
    async with on_stdio(node.folder, era) as client:
        assert (await call(client, "parse_workflow_tags", workflow_file=str(file)))["is_p2p"]
        made = await call(
            client, "submit_p2p_workflow", workflow_file=str(file), name="Mine", inputs={"level": "4"}, priority=1.5
        )
        id = made["workflow_id"]
        assert made["status"] in STATUSES
        assert await ended(node, id) == "completed"
        found = await call(client, "get_p2p_workflow_status", workflow_id=id)
        assert set(found) == {*WORKFLOW, "success"}
        assert (found["name"], found["status"], found["priority"]) == ("Mine", "completed", 1.5)
        assert found["result"] == {"build": {"result": "success", "outputs": {"level": "4"}}}
        mine = await call(client, "get_my_p2p_workflows")
        listed = await call(client, "list_p2p_workflows", status="completed", peer_id=mine["peer_id"])
        row = {name: value for name, value in found.items() if name != "success"}
        assert listed["workflows"][-1] == mine["workflows"][-1] == row
        assert listed["filters"] == {"status": "completed", "peer_id": mine["peer_id"]}
        assert (await call(client, "list_p2p_workflows", status="failed"))["count"] == 0
        assert (await call(client, "assign_p2p_workflows"))["workflow_ids"] == []
        stats = await call(client, "get_p2p_stats")
        assert stats["status_counts"]["completed"] == listed["count"]

        resources = (await client.list_resources()).resources
        log, artifact = (one for one in resources if f"/{id}/" in one.uri)
        assert (log.name, log.mime_type) == ("Mine: log", "text/plain")
        (text,) = (await client.read_resource(log.uri)).contents
        assert isinstance(text, TextResourceContents)
        assert "the level is 4" in text.text
        (kept,) = (await client.read_resource(artifact.uri)).contents
        assert isinstance(kept, TextResourceContents)
        assert (kept.uri, kept.text, kept.mime_type) == (
            f"p2pwf://runs/{id}/artifacts/notes%20%26%20more/notes.txt",
            "kept\n",
            "text/plain",
        )
        assert (await client.read_resource(kept.uri)).contents == [kept]
        templates = (await client.list_resource_templates()).resource_templates
        assert [one.uri_template.count("{") for one in templates] == [1, 2, 3]


async def test_a_run_is_cancelled_peers_come_and_go_and_errors_say_what_to_do(
    node: Node, waits: Path, tmp_path: Path
) -> None:
    untagged = tmp_path / "untagged.yml"
    untagged.write_text("on: push\njobs: {a: {runs-on: linux, steps: [{run: 'true'}]}}\n")
    broken = tmp_path / "broken.yml"
    broken.write_text("on: [\n")
    async with on_stdio(node.folder) as client:
        id = (await call(client, "submit_p2p_workflow", workflow_file=str(waits)))["workflow_id"]
        made_up = await call(client, "update_p2p_workflow_status", workflow_id=id, status="completed", result={"n": 1})
        assert made_up["code"] == "refused"
        told = await call(client, "update_p2p_workflow_status", workflow_id=id, status="cancelled")
        assert told["new_status"] == "cancelled"
        assert await ended(node, id) == "cancelled"

        assert (await call(client, "add_p2p_peer", peer_id=OTHER))["message"] == "added"
        assert (await call(client, "get_p2p_stats"))["peer_count"] == 2
        assert (await call(client, "remove_p2p_peer", peer_id=OTHER))["success"]
        assert (await call(client, "remove_p2p_peer", peer_id=OTHER))["code"] == "not_found"

        gone, more = str(tmp_path / "gone.yml"), {"workflow_id": id}
        for tool, arguments, code in (
            ("submit_p2p_workflow", {"workflow_file": gone}, "usage"),
            ("submit_p2p_workflow", {"workflow_file": str(untagged)}, "refused"),
            ("submit_p2p_workflow", {"workflow_file": str(broken)}, "invalid_workflow"),
            ("submit_p2p_workflow", {"workflow_file": str(waits), "inputs": {"unknown": 1}}, "usage"),
            ("submit_p2p_workflow", {"workflow_file": str(waits), "priority": "high"}, "usage"),
            ("submit_p2p_workflow", {"workflow_file": str(waits), "force": True}, "usage"),
            ("submit_p2p_workflow", {}, "usage"),
            ("parse_workflow_tags", {"workflow_file": gone}, "usage"),
            ("get_p2p_workflow_status", {"workflow_id": "bafyreigone"}, "not_found"),
            ("get_p2p_workflow_status", {"workflow_id": 5}, "usage"),
            ("list_p2p_workflows", {"status": "done"}, "usage"),
            ("update_p2p_workflow_status", {**more, "status": "done"}, "usage"),
            ("update_p2p_workflow_status", {**more, "status": "pending"}, "refused"),
            ("update_p2p_workflow_status", {"workflow_id": "bafyreigone", "status": "cancelled"}, "not_found"),
            ("add_p2p_peer", {"peer_id": "not a peer id"}, "usage"),
            ("get_p2p_stats", {"peer_id": OTHER}, "usage"),
        ):
            answer = await call(client, tool, **arguments)
            assert (answer["success"], answer["code"]) == (False, code), (tool, arguments, answer)
        with pytest.raises(MCPError, match="submit_p2p_workflow") as unknown:
            await client.call_tool("drop_p2p_tables", {})
        assert unknown.value.error.code == -32602
        for uri, code in (
            ("p2pwf://runs/bafyreigone/logs", "not_found"),
            (f"p2pwf://runs/{id}/artifacts/none", "not_found"),
            (f"p2pwf://runs/{id}/secrets", "not_found"),
            ("file:///etc/passwd", "not_found"),
        ):
            with pytest.raises(MCPError) as refused:
                await client.read_resource(uri)
            assert refused.value.error.data["code"] == code
            assert refused.value.error.data["hint"] in refused.value.error.message


async def test_without_a_node_it_starts_and_lists_and_calls_say_how_to_start_one() -> None:
    with short_folder() as base:
        folder = base / "nowhere"
        async with on_stdio(folder) as client:
            assert client.server_info is not None
            assert (client.server_info.name, client.server_info.version) == ("p2pwf", __version__)
            assert "submit_p2p_workflow" in str(client.instructions)
            tools = (await client.list_tools()).tools
            assert tuple(tool.name for tool in tools) == TOOLS
            for tool in tools:
                spec = SPECS[tool.name]
                assert (tool.input_schema, tool.output_schema) == (spec.takes, spec.gives)
                assert tool.annotations is not None
                assert tool.annotations.read_only_hint is spec.reads_only
            assert (await client.list_resources()).resources == []
            assert len((await client.list_resource_templates()).resource_templates) == 3
            for name, spec in SPECS.items():
                values = {field: "cancelled" if field == "status" else "/x" for field in spec.takes["required"]}
                answer = await call(client, name, **values)
                if name != "parse_workflow_tags":
                    assert (answer["code"], "p2pwf up" in answer["hint"]) == ("no_node", True), answer
            with pytest.raises(MCPError, match="p2pwf up"):
                await client.read_resource("p2pwf://runs/bafyreigone/logs")
            assert not folder.exists()

            # A node that is started later is found, and one that has gone is missed.
            async with served(MemoryApi(), folder):
                assert (await call(client, "list_p2p_workflows"))["success"]
            assert (await call(client, "list_p2p_workflows"))["code"] == "no_node"
