"""actions/setup-python and actions/setup-node, with tools in folders like those of real machines."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pwf.errors import UsageError
from p2pwf.runner.native.tools import arch
from p2pwf.runner.native.versions import read_range, read_version
from tests.runner.kit import Bench
from tests.runner.native import Place

HERE = platform.python_version()
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.parametrize(
    ("wanted", "inside", "outside"),
    [
        ("3.11", "3.11.0 3.11.9", "3.12.0 3.1.1 2.7.18"),
        ("3.x", "3.0.0 3.13.1", "2.7.18 4.0.0"),
        ("3.11.4", "3.11.4", "3.11.5"),
        (">=3.10", "3.10.0 3.13.0 4.0.0", "3.9.18"),
        (">=3.10 <3.12", "3.10.1 3.11.9", "3.12.0 3.9.0"),
        (">=3.9,<4", "3.9.0 3.13.0", "3.8.0 4.0.0"),
        ("~=3.9", "3.9.0 3.13.0", "3.8.1 4.0.0"),
        ("~=3.9.2", "3.9.2 3.9.9", "3.9.1 3.10.0"),
        ("==3.9.*", "3.9.0 3.9.18", "3.10.0"),
        ("!=3.9.*", "3.8.0 3.10.0", "3.9.18"),
        ("^18.2.0", "18.2.0 18.19.1", "18.1.9 19.0.0"),
        ("^0.2.3", "0.2.3 0.2.9", "0.3.0"),
        ("~18.2", "18.2.0 18.2.7", "18.3.0"),
        ("~18", "18.0.0 18.9.0", "19.0.0"),
        ("v20", "20.0.0 20.11.1", "21.0.0"),
        ("18 || 20", "18.1.0 20.1.0", "19.1.0"),
        ("3.9 - 3.11", "3.9.0 3.11.9", "3.12.0 3.8.9"),
        (">3.10", "3.11.0", "3.10.9"),
        ("<=3.10", "3.10.9 3.1.0", "3.11.0"),
        (">18.1.0 <=18.3.0", "18.1.1 18.3.0", "18.1.0 18.3.1"),
        ("*", "0.1.0 99.0.0", "3.14.0-rc1"),
        ("~3.14.0-0", "3.14.0-a1 3.14.0 3.14.2", "3.15.0 3.13.9 3.14.1-rc1"),
        ("3.14.0-rc.1", "3.14.0-rc.1", "3.14.0"),
        (">= 3.8", "3.8.0", "3.7.9"),
    ],
)
def test_ranges(wanted: str, inside: str, outside: str) -> None:
    range_ = read_range(wanted)
    for text, holds in [*((one, True) for one in inside.split()), *((one, False) for one in outside.split())]:
        version = read_version(text)
        assert version is not None
        assert range_.holds(version) is holds, text


@pytest.mark.parametrize("text", ["three", "3.x.y.z.w", ">=", "1 2 !", "3.11;rm", "9" * 300])
def test_what_is_no_range_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="not a version or a range"):
        read_range(text)


@given(st.text(st.sampled_from("0123456789.xX*^~<>=!|-, vabrc"), max_size=40) | st.text(max_size=20))
def test_any_text_is_a_range_or_an_error(text: str) -> None:
    with suppress(UsageError):
        range_ = read_range(text)
        for one in ("3.11.7", "20.0.0-rc.1", text):
            version = read_version(one)
            assert version is None or range_.holds(version) in (True, False)


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {text}\n")
    path.chmod(0o755)


@pytest.fixture
def place(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr("p2pwf.runner.native.tools.HOSTED", str(bench.root / "none"))
    return Place.at(bench)


def machine(place: Place) -> dict[str, str]:
    """The variables of a machine with these tools:

    - Python: the one of these tests on PATH and with uv, 3.7.9 in the tool cache, and one there that is not whole;
    - Node.js: 16.1.0 on PATH; 18.19.0 and 20.11.1 with nvm, 22.3.0 with n, 21.0.0 in the tool cache.
    """
    root = place.bench.root / "machine"
    real = os.path.realpath(sys.executable)
    for link in ("bin/python3", f"uv/cpython-{HERE}-linux/bin/python3", f"tools/Python/3.7.9/{arch()}/bin/python3"):
        (root / link).parent.mkdir(parents=True)
        (root / link).symlink_to(real)
    (root / f"tools/Python/3.7.9/{arch()}.complete").touch()
    script(root / f"tools/Python/3.6.1/{arch()}/bin/python3", "half")
    for name in ("sh", "bash", "cat", "head", "tail", "dirname"):
        (root / "bin" / name).symlink_to(cast(str, shutil.which(name)))
    script(root / "bin/node", "v16.1.0")
    script(root / "bin/npm", "npm of 16")
    for version in ("v18.19.0", "v20.11.1"):
        script(root / f"nvm/versions/node/{version}/bin/node", version)
    script(root / "n/n/versions/node/22.3.0/bin/node", "v22.3.0")
    script(root / f"tools/node/21.0.0/{arch()}/bin/node", "v21.0.0")
    (root / f"tools/node/21.0.0/{arch()}.complete").touch()
    return {
        **place.base(),
        "PATH": f"{root}/bin",  # no other Python, no other Node.js
        **{name: str(root / "none") for name in ("PYENV_ROOT", "FNM_DIR", "VOLTA_HOME", "ASDF_DATA_DIR")},
        "AGENT_TOOLSDIRECTORY": "",
        "UV_PYTHON_INSTALL_DIR": str(root / "uv"),
        "RUNNER_TOOL_CACHE": str(root / "tools"),
        "NVM_DIR": str(root / "nvm"),
        "N_PREFIX": str(root / "n"),
    }


@pytest.mark.parametrize(
    "inputs", [f"python-version: '{MINOR}'", f"python-version: '>={MINOR} <4'", "python-version: 3.x"]
)
async def test_python_runs_in_an_environment_of_the_job(place: Place, inputs: str) -> None:
    ran = await place.run(
        f"""
        - {{id: p, uses: actions/setup-python@v5, with: {{{inputs}}}}}
        - run: |
            python -c 'import platform, sys; print(platform.python_version(), sys.prefix)'
            test "$(command -v python)" = "${{{{ steps.p.outputs.python-path }}}}" && echo path
            echo ${{{{ steps.p.outputs.python-version }}}} ${{{{ steps.p.outputs.cache-hit }}}} $pythonLocation
            python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
            [ "$pythonLocation" = "$Python_ROOT_DIR" ] && [ "$pythonLocation" = "$Python3_ROOT_DIR" ] && echo same
            head -n 2 "$(command -v pip)" | tail -n 1
        - {{shell: python, run: "import sys; print(sys.prefix)"}}
        """,
        base=machine(place),
    )
    assert ran.outcomes() == ["success"] * 3, ran.messages()
    folder = str(place.bench.root / "work")
    first, path, outputs, library, same, pip = ran.text(2).splitlines()
    version, prefix = first.split(" ", 1)
    assert version == HERE
    assert prefix.startswith(folder)
    assert outputs == f"{HERE} false {prefix}"
    assert library == f"{prefix}/lib/python{MINOR}/site-packages"
    assert (path, same) == ("path", "same")
    assert "-m pip" in pip
    assert ran.text(3) == prefix


async def test_of_several_pythons_the_last_is_first(place: Place) -> None:
    ran = await place.run(
        f"""
        - id: p
          uses: actions/setup-python@v4
          with:
            python-version: |
              {MINOR}
              3.7
        - run: echo ${{{{ steps.p.outputs.python-version }}}}; command -v python{MINOR} python3.7 python
        """,
        base=machine(place),
    )
    version, other, old, first = ran.text(2).splitlines()
    assert version == "3.7.9"
    assert f"/{HERE}/" in other
    assert "/3.7.9/" in old
    assert Path(first).parent == Path(old).parent


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (".python-version", f"# ours\n{MINOR}\n"),
        (".tool-versions", f"nodejs 1\npython {HERE}\n"),
        ("pyproject.toml", f'[project]\nrequires-python = ">={MINOR},<4"\n'),
        ("pyproject.toml", f'[tool.poetry.dependencies]\npython = "^{MINOR}"\n'),
        ("Pipfile", f'[requires]\npython_version = "{MINOR}"\n'),
    ],
)
async def test_a_file_says_which_python(place: Place, file: str, text: str) -> None:
    ran = await place.run(
        f"""
        - uses: actions/checkout@v4
        - {{id: p, uses: actions/setup-python@v5, with: {{python-version-file: {file}}}}}
        - run: echo ${{{{ steps.p.outputs.python-version }}}}
        """,
        source={file: text},
        base=machine(place),
    )
    assert ran.text(3) == HERE, ran.messages()


async def test_without_a_version_python_is_the_one_on_path(place: Place) -> None:
    ran = await place.run(
        "- {id: p, uses: actions/setup-python@v5}\n- run: echo ${{ steps.p.outputs.python-version }}",
        base=machine(place),
    )
    assert ran.text(2) == HERE
    assert "will be used" in ran.messages()[1]


async def test_update_environment_false_only_tells(place: Place) -> None:
    ran = await place.run(
        """
        - {id: p, uses: actions/setup-python@v5, with: {python-version: 3.x, update-environment: false}}
        - run: echo "$pythonLocation $(command -v python3)"; ${{ steps.p.outputs.python-path }} -c 'print(1)'
        """,
        base=machine(place),
    )
    assert ran.text(2).splitlines() == [f" {place.bench.root}/machine/bin/python3", "1"]


@pytest.mark.parametrize(
    ("uses", "inputs", "said"),
    [
        ("python", "python-version: '3.6'", f"Python 3.6 is not on this machine; found: {HERE}, 3.7.9 (install it"),
        ("python", "python-version: pypy3.10", "'pypy3.10' is not set up here"),
        ("python", "python-version: 3.13t", "free-threaded"),
        ("python", "python-version: '3.x;x'", "not a version or a range of versions"),
        ("python", "python-version-file: none.txt", "doesn't exist"),
        ("python", "{python-version: 3.x, architecture: s390}", f"this machine is {arch()}, not s390"),
        (
            "node",
            "node-version: 19",
            "Node.js 19 is not on this machine; found: 22.3.0, 21.0.0, 20.11.1, 18.19.0, 16.1",
        ),
        ("node", "node-version: lts/nothing", "no line of Node.js with long-term support is called lts/nothing"),
        ("node", "node-version: lts/argon", "Node.js lts/argon is not on this machine"),
        ("node", "node-version-file: none.txt", "does not exist"),
        ("node", "{node-version: 20, registry-url: somewhere}", "registry-url is no URL"),
    ],
)
async def test_a_tool_that_is_not_here_is_an_error_that_says_what_is(
    place: Place, uses: str, inputs: str, said: str
) -> None:
    inputs = inputs if inputs.startswith("{") else f"{{{inputs}}}"
    ran = await place.run(f"- {{uses: actions/setup-{uses}@v4, with: {inputs}}}", base=machine(place))
    assert ran.outcomes() == ["failure"]
    assert said in ran.messages()[-1]


async def test_what_is_not_done_is_said(place: Place) -> None:
    ran = await place.run(
        """
        - {uses: actions/setup-python@v5, with: {python-version: 3.x, cache: pip}}
        - {uses: actions/setup-node@v4, with: {node-version: 20, cache: npm}}
        """,
        base=machine(place),
    )
    assert ran.outcomes() == ["success", "success"]
    assert "'cache: pip' is not done here" in ran.messages()[0]
    assert "'cache: npm' is not done here" in ran.messages()[1]


@pytest.mark.parametrize(
    ("wanted", "version"),
    [
        ("20", "v20.11.1"),
        ("20.x", "v20.11.1"),
        ("v18.19.0", "v18.19.0"),
        ("'>=18 <21'", "v20.11.1"),
        ("lts/*", "v22.3.0"),
        ("lts/iron", "v20.11.1"),
        ("lts/-1", "v22.3.0"),
        ("lts/Hydrogen", "v18.19.0"),
        ("latest", "v22.3.0"),
        ("node", "v22.3.0"),
        ("21", "v21.0.0"),
        ("16", "v16.1.0"),
    ],
)
async def test_node_is_the_newest_that_was_asked_for(place: Place, wanted: str, version: str) -> None:
    ran = await place.run(
        f"""
        - {{id: n, uses: actions/setup-node@v4, with: {{node-version: {wanted}}}}}
        - run: node; echo ${{{{ steps.n.outputs.node-version }}}} ${{{{ steps.n.outputs.cache-hit }}}}; npm
        """,
        base=machine(place),
    )
    assert ran.text(2).splitlines() == [version, f"{version} false", "npm of 16"]


async def test_a_node_among_other_programs_does_not_bring_them_to_the_front(place: Place) -> None:
    ran = await place.run(
        """
        - {uses: actions/setup-python@v5, with: {python-version: 3.x}}
        - {uses: actions/setup-node@v4, with: {node-version: 16}}
        - run: dirname "$(dirname "$(command -v python3)")"; echo $pythonLocation; node
        """,
        base=machine(place),
    )
    first, location, node = ran.text(3).splitlines()
    assert first == location
    assert node == "v16.1.0"


@pytest.mark.parametrize(
    ("file", "text", "version"),
    [
        (".nvmrc", "v18\n", "v18.19.0"),
        (".nvmrc", "# ours\nlts/iron\n", "v20.11.1"),
        (".node-version", "20.11.1", "v20.11.1"),
        (".tool-versions", "python 3\nnodejs 18.19.0\n", "v18.19.0"),
        ("package.json", '{"engines": {"node": ">=18 <20"}}', "v18.19.0"),
        ("package.json", '{"engines": {"node": "18"}, "volta": {"node": "20.11.1"}}', "v20.11.1"),
        ("package.json", '{"devEngines": {"runtime": [{"name": "node", "version": "^18"}]}}', "v18.19.0"),
    ],
)
async def test_a_file_says_which_node(place: Place, file: str, text: str, version: str) -> None:
    ran = await place.run(
        f"""
        - uses: actions/checkout@v4
        - {{uses: actions/setup-node@v4, with: {{node-version-file: {file}}}}}
        - run: node
        """,
        source={file: text},
        base=machine(place),
    )
    assert ran.text(3) == version, ran.messages()


async def test_npm_is_told_of_another_registry(place: Place) -> None:
    ran = await place.run(
        """
        - uses: actions/setup-node@v4
          with: {node-version: 20, registry-url: "https://npm.example.org", scope: "@me"}
        - run: cat "$NPM_CONFIG_USERCONFIG"; echo $NODE_AUTH_TOKEN
        """,
        base=machine(place),
    )
    assert ran.text(2).splitlines() == [
        "//npm.example.org/:_authToken=${NODE_AUTH_TOKEN}",
        "@me:registry=https://npm.example.org/",
        "XXXXX-XXXXX-XXXXX-XXXXX",
    ]


async def test_errors_of_the_tools_become_annotations(place: Place) -> None:
    ran = await place.run(
        """
        - {uses: actions/setup-python@v5, with: {python-version: 3.x}}
        - {uses: actions/setup-node@v4, with: {node-version: 20}}
        - run: |
            : > a.ts; : > b.js; : > c.js
            printf 'def f():\\n    raise ValueError("no good")\\nf()\\n' > s.py
            python s.py || true
            echo "a.ts(3,5): error TS2322: Type 'string' is not assignable."
            echo "b.js: line 7, col 2, Warning - Missing semicolon (semi)"
            printf '%s/c.js\\n  1:9  error  Unexpected var  no-var\\n  2:1  warning  Too long  max-len\\n' "$PWD"
        """,
        base=machine(place),
    )
    told = [(one.level, one.file, one.line, one.column, one.message) for one in ran.result.annotations]
    assert told == [
        ("error", "s.py", 2, None, "no good"),
        ("error", "a.ts", 3, 5, "Type 'string' is not assignable."),
        ("warning", "b.js", 7, 2, "Missing semicolon"),
        ("error", "c.js", 1, 9, "Unexpected var"),
        ("warning", "c.js", 2, 1, "Too long"),
    ]
