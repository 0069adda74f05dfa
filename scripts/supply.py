"""What p2pwf is made of: a CycloneDX bill of materials from the lock, and whether all licences are ones that we take.

    scripts/sbom [FILE]      the bill, of what p2pwf runs with
    scripts/licences         one line for each package with a licence that is not on the list, and exit code 1

Needs no network: versions and hashes stand in the locks, licences in what is installed from them. Knows names, versions
and what packages say of themselves; whether that is true, it cannot know.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SCRIPTS = Path(__file__).parent
RUN = ("requirements.txt",)
ALL = ("requirements-build.txt", *RUN, "requirements-test.txt")
MACHINES = [
    {
        "sys_platform": system,
        "platform_machine": machine,
        "python_version": python,
        "python_full_version": f"{python}.0",
    }
    for system, machine in (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
    for python in ("3.11", "3.12", "3.13")
]
"""Those that scripts/lock promises: what is locked for others only is nobody's to install."""
ALLOWED = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "LGPL-2.1-or-later", "MIT", "MIT-0",
    "MPL-2.0", "PSF-2.0", "Unlicense", "Zlib",
}  # fmt: skip
"""Licences that go with ours (MIT) in a program that is installed from separate, unchanged packages."""
BY_CLASSIFIER = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
BY_WORDS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache License 2.0": "Apache-2.0",
    "BSD 3-Clause License": "BSD-3-Clause",
}
"""What packages write that name no SPDX expression."""


@dataclass(frozen=True)
class Locked:
    """One package of a lock. `via`: the packages that ask for it; None among them for p2pwf itself."""

    name: str
    version: str
    hashes: tuple[str, ...]
    via: tuple[str, ...] = field(default=())


def read_locks(names: Iterable[str] = RUN) -> dict[str, Locked]:
    """The packages of locks by name: those that some supported machine installs."""
    found: dict[str, Locked] = {}
    for name in names:
        text = (SCRIPTS / name).read_text(encoding="utf-8")
        for entry in re.split(r"\n(?=[A-Za-z0-9])", text):
            head, _, rest = entry.partition("\n")
            if "==" not in head or head.startswith("#"):
                continue
            wanted = Requirement(head.rstrip("\\ "))
            if wanted.marker is not None and not any(wanted.marker.evaluate(dict(one)) for one in MACHINES):
                continue
            via = re.findall(
                r"^    #   (?:via )?([A-Za-z0-9][\w.-]*)|^    # via ([A-Za-z0-9][\w.-]*)", rest, re.MULTILINE
            )
            package = Locked(
                canonicalize_name(wanted.name),
                str(wanted.specifier).removeprefix("=="),
                tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", rest)),
                tuple(sorted({canonicalize_name(one or other) for one, other in via})),
            )
            found[package.name] = package
    return found


def licence_of(name: str) -> str:
    """What an installed package says of its licence, as an SPDX expression where that can be told, else its words."""
    about = metadata.metadata(name)
    if "License-Expression" in about:
        return about["License-Expression"]
    said = [
        BY_CLASSIFIER.get(kind := one.rpartition(" :: ")[2], kind)
        for one in about.get_all("Classifier", [])
        if one.startswith("License :: ") and not one.endswith(":: OSI Approved")
    ]
    if said:
        return " OR ".join(said)
    words = (about["License"] or "").strip().partition("\n")[0] if "License" in about else ""
    return BY_WORDS.get(words, words or "none told")


def is_allowed(expression: str) -> bool:
    """Whether an SPDX expression leaves a way to take the package under licences of the list."""
    if "(" in expression:
        inner = re.sub(r"\(([^()]*)\)", lambda found: "MIT" if is_allowed(found[1]) else "refused", expression)
        return inner != expression and is_allowed(inner)
    ways = (way.split(" AND ") for way in expression.split(" OR "))
    return any(all(one.strip() in ALLOWED for one in way) for way in ways)


def odd_licences(packages: Iterable[str]) -> Iterator[str]:
    """A line for each package whose licence is not taken, or that is not installed."""
    for name in sorted(packages):
        try:
            licence = licence_of(name)
        except metadata.PackageNotFoundError:
            yield f"{name}: not installed here, so its licence is not known"
            continue
        if not is_allowed(licence):
            yield f"{name}: {licence}"


def bill(packages: Mapping[str, Locked]) -> dict[str, Any]:
    """The bill of materials in CycloneDX 1.6. The same for the same lock: it says nothing of when it was made."""
    version = metadata.version("p2pwf")
    root = f"pkg:pypi/p2pwf@{version}"
    refs = {name: f"pkg:pypi/{name}@{one.version}" for name, one in packages.items()}
    needs: dict[str, set[str]] = {ref: set() for ref in (root, *refs.values())}
    for name, one in packages.items():
        for user in one.via:
            needs[root if user == "p2pwf" else refs.get(user, root)].add(refs[name])
    mark = sha256(json.dumps(sorted((*refs.values(), root))).encode()).hexdigest()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.UUID(mark[:32])}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": "p2pwf",
                "version": version,
                "purl": root,
                "licenses": [{"expression": "MIT"}],
            }
        },
        "components": [_component(one, refs[name]) for name, one in sorted(packages.items())],
        "dependencies": [{"ref": ref, "dependsOn": sorted(below)} for ref, below in sorted(needs.items())],
    }


def _component(one: Locked, ref: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "library",
        "bom-ref": ref,
        "name": one.name,
        "version": one.version,
        "purl": ref,
        "hashes": [{"alg": "SHA-256", "content": content} for content in one.hashes],
    }
    try:
        licence = licence_of(one.name)
    except metadata.PackageNotFoundError:
        return made  # for another machine than this one
    made["licenses"] = [{"expression": licence}] if is_allowed(licence) else [{"license": {"name": licence}}]
    return made


def main(words: list[str]) -> int:
    if words[:1] == ["sbom"] and len(words) <= 2:
        text = json.dumps(bill(read_locks()), indent=2) + "\n"
        if len(words) == 2:
            Path(words[1]).write_text(text, encoding="utf-8")
        else:
            sys.stdout.write(text)
        return 0
    if words == ["licences"]:
        packages = read_locks(ALL)
        odd = list(odd_licences(packages))
        for line in odd:
            print(line)
        print(f"{len(packages)} packages, {len(odd)} to look at", file=sys.stderr)
        return int(bool(odd))
    print("usage: scripts/sbom [FILE] | scripts/licences", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
