"""What the example workflows come to, wherever they run: the outputs of their last job, and their last artifact."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUTPUTS = {
    "scrape_website": {"products": "9", "broken": "1"},
    "generate_code": {"title": "Village library", "operations": "4", "modules": "client.py models.py server.py"},
    "process_dataset": {"busiest": "University", "lines": "300", "skipped": "2"},
}
ARTIFACT = {"scrape_website": "catalogue", "generate_code": "library", "process_dataset": "stations"}


def copy(folder: Path) -> Path:
    """The examples as a user's source; where the workflow files lie."""
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "examples" / "p2p_workflows"


def look(name: str, artifact: Path) -> None:
    """Whether the last artifact of an example holds what it must."""
    match name:
        case "scrape_website":
            found = json.loads((artifact / "catalogue.json").read_text())
            site = ROOT / "examples" / "scrape" / "site"
            pages = [page for page in site.glob("*/*.html") if page.name != "index.html"]
            assert sorted(one["name"].lower() for one in found["products"]) == sorted(page.stem for page in pages)
            assert {"section": "roots", "name": "Salsify", "price": 3.05, "stock": 45} in found["products"]
            assert found["broken"] == ["roots/forgotten.html"]
        case "generate_code":
            assert sorted(file.name for file in artifact.iterdir()) == ["client.py", "models.py", "server.py"]
            script = ROOT / "examples" / "generate" / "tryout.py"
            done = subprocess.run(
                [sys.executable, "-B", script], env={"PYTHONPATH": str(artifact)}, timeout=60, check=False
            )
            assert done.returncode == 0
        case "process_dataset":
            wanted: dict[str, list[int]] = {}
            with (ROOT / "examples" / "dataset" / "rides.csv").open(newline="") as file:
                for row in csv.DictReader(file):
                    sums = wanted.setdefault(row["station"], [0, 0])
                    if row["rides"]:
                        sums[0] += int(row["rides"])
                        sums[1] += int(row["minutes"])
            with (artifact / "stations.csv").open(newline="") as file:
                found = {row["station"]: [int(row["rides"]), int(row["minutes"])] for row in csv.DictReader(file)}
            assert found == wanted
        case _:
            raise AssertionError(name)
