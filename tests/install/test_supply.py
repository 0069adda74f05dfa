"""The bill of materials says what the lock says, and no package has a licence that we do not take."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.install.machine import ROOT
from tests.install.test_lock import MACHINES, RUN, environment, pins

SCRIPT = ROOT / "scripts" / "supply.py"


@pytest.fixture(scope="module")
def supply() -> ModuleType:
    spec = importlib.util.spec_from_file_location("supply", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["supply"] = module
    spec.loader.exec_module(module)
    return module


def run(*words: str) -> str:
    return subprocess.run(
        [sys.executable, SCRIPT, *words], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_the_bill_of_materials_has_what_the_lock_installs_and_is_the_same_each_time(tmp_path: Path) -> None:
    told: dict[str, Any] = json.loads(run("sbom"))
    run("sbom", str(tmp_path / "bill.json"))
    assert json.loads((tmp_path / "bill.json").read_text()) == told
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.6")
    wanted: dict[str, str] = {}
    for machine in MACHINES:
        wanted |= pins(RUN, environment(*machine))
    assert {one["name"]: one["version"] for one in told["components"]} == wanted
    assert all(one["hashes"] and one["purl"].startswith("pkg:pypi/") for one in told["components"])
    refs = {told["metadata"]["component"]["bom-ref"], *(one["bom-ref"] for one in told["components"])}
    edges = {one["ref"]: one["dependsOn"] for one in told["dependencies"]}
    assert set(edges) == refs
    assert set().union(*edges.values()) == refs - {told["metadata"]["component"]["bom-ref"]}
    assert any(ref.startswith("pkg:pypi/libp2p@") for ref in edges[told["metadata"]["component"]["bom-ref"]])


def test_every_licence_is_one_that_we_take(supply: ModuleType) -> None:
    assert list(supply.odd_licences(supply.read_locks(supply.ALL))) == []


def test_a_licence_that_is_not_on_the_list_and_a_package_that_is_not_here_are_named(
    supply: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supply, "ALLOWED", supply.ALLOWED - {"MPL-2.0"})
    odd = list(supply.odd_licences(["hypothesis", "attrs", "no-such-package"]))
    assert odd[0] == "hypothesis: MPL-2.0"
    assert odd[1].startswith("no-such-package: not installed here")
    assert len(odd) == 2


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR GPL-3.0-only) AND BSD-3-Clause", True),
        ("(MIT AND (GPL-2.0-only OR ISC))", True),
        ("Apache-2.0 AND (GPL-2.0-only)", False),
        (")(", False),
        ("none told", False),
    ],
)
def test_expressions_are_read(supply: ModuleType, expression: str, allowed: bool) -> None:
    assert supply.is_allowed(expression) is allowed
