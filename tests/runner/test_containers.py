"""Containers through the command line of an engine.

No engine runs where these tests run. The first ones show what is said there, with the machine's own programs. The
others put `data/fake_docker.py` on PATH: it records its arguments and starts programs on this machine. They show that
the right commands come in the right order and that what they give comes through, and nothing of how a real engine
takes them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from p2pwf.errors import UsageError
from p2pwf.runner import containers, services
from p2pwf.runner.containers import Spec, read_path, read_ports, read_spec
from tests.runner.kit import FAST, Bench, Ran
from tests.runner.test_processes import until

FAKE = Path(__file__).parent / "data/fake_docker.py"


@attrs.frozen
class FakeEngine:
    """The stand-in: what it was asked, and what it is to do."""

    folder: Path
    base: dict[str, str]

    def asked(self) -> list[list[str]]:
        """All commands but those that only look."""
        return [words for words in self.all() if words[0] not in ("version", "info", "ps") and words[1] != "prune"]

    def all(self) -> list[list[str]]:
        """All commands."""
        return [json.loads(line) for line in (self.folder / "asked.ndjson").read_text().splitlines()]

    def verbs(self) -> list[str]:
        return [" ".join(words[:2]) if words[0] == "network" else words[0] for words in self.asked()]

    def of(self, verb: str) -> list[str]:
        """The arguments of the first command of a kind."""
        return next(words for words in self.asked() if words[0] == verb)

    def will(self, name: str, text: str = "") -> None:
        (self.folder / name).write_text(text)


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    return make_engine(tmp_path, "docker")


def make_engine(root: Path, name: str) -> FakeEngine:
    folder, programs = root / "engine", root / "programs"
    folder.mkdir()
    programs.mkdir()
    program = programs / name
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {FAKE} "$@"\n')
    program.chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    return FakeEngine(folder, {"PATH": path, "FAKE_ENGINE": str(folder), "FAKE_PATH": os.environ["PATH"]})


async def run(bench: Bench, engine: FakeEngine, steps: str, **more: Any) -> Ran:
    return await bench.run(steps, base=engine.base, **more)


def after(words: list[str], option: str) -> list[str]:
    """The values of an option."""
    return [words[index + 1] for index, word in enumerate(words[:-1]) if word == option]


@pytest.mark.parametrize(
    ("steps", "job", "what"),
    [
        ("- run: echo never", "container: ubuntu:24.04", "the job's container needs a container engine"),
        ("- run: echo never", "services: {db: {image: redis}}", "a service container needs a container engine"),
        ("- uses: docker://alpine:3", "", "the action 'docker://alpine:3' needs a container engine"),
        ("- uses: ./a", "", "the action './a' needs a container engine"),
    ],
)
async def test_where_no_engine_answers_one_error_says_so_with_a_hint(
    bench: Bench, steps: str, job: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With whatever docker or podman this machine has; its engine is told to be where none is."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{bench.root}/no-engine.sock")
    monkeypatch.setenv("CONTAINER_HOST", f"unix://{bench.root}/no-engine.sock")
    base = {"PATH": os.environ["PATH"]}
    ran = await bench.run(steps, job=job, base=base, source={"a/Dockerfile": "FROM scratch"})
    assert ran.result.outcome == "failure"
    assert ran.text() == ""
    assert what in ran.messages()[0]
    assert "start Docker or Podman on this peer" in ran.messages()[0]


async def test_without_the_programs_the_error_says_which(bench: Bench, tmp_path: Path) -> None:
    ran = await bench.run("- uses: docker://alpine:3", base={"PATH": str(tmp_path)})
    assert "neither docker nor podman is installed on this peer" in ran.messages()[0]


async def test_where_docker_does_not_answer_podman_is_asked(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    engine = make_engine(tmp_path, "podman")
    ran = await run(bench, engine, "- uses: docker://greet:1")
    assert engine.verbs() == ["pull", "run"]
    assert any("podman run" in line for line in ran.said())
    assert ran.result.outcome == "success"


async def test_steps_run_in_the_jobs_container_and_their_files_come_through(bench: Bench, engine: FakeEngine) -> None:
    ran = await run(
        bench,
        engine,
        """
        - id: a
          env: {MY: 'a b'}
          run: |
            echo "$MY $IN_IMAGE"; echo x=1 >> $GITHUB_OUTPUT; echo "A=$GITHUB_WORKSPACE" >> $GITHUB_ENV
            echo /more >> $GITHUB_PATH; mkdir sub
        - {shell: bash, working-directory: sub, run: 'echo "${{ steps.a.outputs.x }} $PWD"; exit 7'}
        - {if: always(), run: 'echo ${{ job.container.id }} ${{ job.container.network }}'}
        """,
        job="""
        container:
          image: node:20
          env: {IN_IMAGE: e}
          ports: [80]
          volumes: ['data:/data']
          options: --cpus 1
        """,
        facts={"repository": "me/tool"},
    )
    assert [step.name for step in ran.result.steps if step.number in (1, 5)] == [
        "Initialize containers",
        "Stop containers",
    ]
    assert ran.outcomes() == ["success", "success", "failure", "success", "success"]
    assert engine.verbs() == [
        *("network create", "pull", "create", "start", "inspect", "exec", "exec", "exec", "rm", "network rm"),
    ]
    create = engine.of("create")
    assert create[-3:] == ["node:20", "-f", "/dev/null"]
    assert after(create, "-p") == ["80"]
    assert after(create, "--cpus") == ["1"]
    assert {"IN_IMAGE", "CI", "GITHUB_ACTIONS", "HOME=/github/home"} <= set(after(create, "-e"))
    created = json.loads((engine.folder / "created.env").read_text())
    assert (created["IN_IMAGE"], created["CI"]) == ("e", "true")
    assert "data:/data" in after(create, "-v")
    assert any(mount.endswith(":/__w") for mount in after(create, "-v"))
    first, second, _ = (words for words in engine.asked() if words[0] == "exec")
    assert after(first, "--workdir") == ["/__w/tool/tool"]
    assert first[-3:-1] == ["sh", "-e"]
    assert first[-1].startswith("/__w/_temp/")
    assert second[-6:-1] == ["bash", "--noprofile", "--norc", "-eo", "pipefail"]
    assert after(second, "--workdir") == ["/__w/tool/tool/sub"]
    assert "MY" in after(first, "-e"), "values go over the environment: no list of processes shows them"
    assert not any("a b" in word for word in first)
    assert not any(word.startswith("PATH=") for word in first)
    assert "PATH=/more:/image/bin:/bin" in after(second, "-e")
    assert ran.text(2) == "a b "  # the stand-in has no variables of an image
    assert ran.text(3).startswith("1 /")
    assert "Process completed with exit code 7." in ran.messages()
    container, network = ran.text(4).split()
    assert container == after(create, "--name")[0]
    assert network == after(create, "--network")[0]


async def test_services_have_ports_and_names_and_are_waited_for(bench: Bench, engine: FakeEngine) -> None:
    engine.will("health", "starting starting healthy")
    ran = await run(
        bench,
        engine,
        "- run: echo ${{ job.services.redis.ports['6379'] }} ${{ job.services.redis.id }}",
        job="""
        services:
          redis: {image: 'redis:7', ports: ['6379'], env: {A: b}, options: '--health-cmd "redis-cli ping"'}
          none: {image: "${{ '' }}"}
          etcd: {image: quay.io/etcd, entrypoint: etcd, command: '--listen "http://0.0.0.0"'}
        """,
    )
    creates = [words for words in engine.asked() if words[0] == "create"]
    assert [after(words, "--network-alias") for words in creates] == [["redis"], ["etcd"]]
    assert after(creates[0], "--health-cmd") == ["redis-cli ping"]
    assert after(creates[0], "-e").count("A") == 1
    assert creates[1][-5:] == ["--entrypoint", "etcd", "quay.io/etcd", "--listen", "http://0.0.0.0"]
    assert ran.text(2) == f"49153 {after(creates[0], '--name')[0]}"
    assert sum("service is starting, waiting" in line for line in ran.said()) == 2
    assert ran.result.outcome == "success"
    assert engine.verbs()[-5:] == ["logs", "rm", "logs", "rm", "network rm"]
    assert "the service says hello" in ran.text(3), "its log is shown at the end"


async def test_an_unhealthy_service_fails_the_job_and_everything_is_taken_down(
    bench: Bench, engine: FakeEngine
) -> None:
    engine.will("health", "starting unhealthy")
    ran = await run(
        bench,
        engine,
        "- run: echo never\n- {if: always(), run: echo always}",
        job="services: {db: {image: postgres}}",
    )
    assert ran.outcomes() == ["failure", "skipped", "success", "success"]
    assert ran.messages()[0] == "Failed to initialize container postgres"
    assert engine.verbs()[-2:] == ["rm", "network rm"]


async def test_containers_that_an_earlier_life_of_the_node_left_are_removed(bench: Bench, engine: FakeEngine) -> None:
    engine.will("left", f"dead other-life\nrunning {services.LIFE}\n")
    await run(bench, engine, "- run: 'true'", job="container: node:20")
    removed = [words[-1] for words in engine.asked() if words[0] == "rm"]
    assert removed == ["dead", after(engine.of("create"), "--name")[0]]
    prune = next(words for words in engine.all() if words[:2] == ["network", "prune"])
    assert f"label!=p2pwf.life={services.LIFE}" in after(prune, "--filter")


async def test_an_image_that_cannot_be_pulled_is_tried_thrice(bench: Bench, engine: FakeEngine) -> None:
    engine.will("fail-pull")
    ran = await run(bench, engine, "- run: echo never", job="container: nowhere/none")
    assert engine.verbs().count("pull") == 3
    assert "the image nowhere/none cannot be pulled" in ran.messages()[-1]
    assert engine.verbs()[-1] == "network rm"


async def test_credentials_reach_the_registry_and_no_log(bench: Bench, engine: FakeEngine) -> None:
    ran = await run(
        bench,
        engine,
        "- run: 'true'",
        job="container: {image: ghcr.io/a/b, credentials: {username: me, password: '${{ secrets.P }}'}}",
        secrets={"P": "open-sesame"},
    )
    login = json.loads((engine.folder / "login.json").read_text())
    assert list(login["auths"]) == ["ghcr.io"]
    assert not any("open-sesame" in " ".join(words) for words in engine.asked())
    assert not any("open-sesame" in line.text for line in ran.lines)


async def test_a_registry_action_gets_inputs_arguments_and_its_files(bench: Bench, engine: FakeEngine) -> None:
    ran = await run(
        bench,
        engine,
        """
        - {id: g, uses: 'docker://greet:1', with: {args: 'one "two three"', who: me}}
        - {id: e, uses: 'docker://greet:1', with: {entrypoint: /bin/echo, args: from echo}}
        - run: echo ${{ steps.g.outputs.said }}
        - {uses: 'docker://greet:1', env: {CODE: 3}}
        """,
    )
    words = engine.of("run")
    assert words[-3:] == ["greet:1", "one", "two three"]
    assert after(words, "--workdir") == ["/github/workspace"]
    assert "--rm" in words
    assert [mount.rpartition(":")[2] for mount in after(words, "-v") if "docker.sock" not in mount] == [
        *("/github/runner_temp", "/github/home", "/github/workflow", "/github/file_commands", "/github/workspace"),
    ]
    lines = ran.text(1).splitlines()
    assert lines[0].startswith("args:one two three")
    assert lines[1].startswith("in /")
    assert " me true /" in lines[1]
    assert ran.text(2).splitlines()[-1] == "from echo"
    assert ran.text(3) == "hi"
    assert ran.outcomes() == ["success", "success", "success", "failure"]
    assert engine.verbs().count("pull") == 1, "an image is pulled once for a job"


async def test_an_action_with_a_dockerfile_is_built_once_and_has_stages(bench: Bench, engine: FakeEngine) -> None:
    action = """
name: d
inputs: {who: {default: you}}
runs:
  using: docker
  image: Dockerfile
  args: ['${{ inputs.who }}', 'a b']
  env: {EXTRA: '${{ inputs.who }}!'}
  post-entrypoint: /bin/echo
"""
    files = {"action.yml": action, "Dockerfile": "FROM scratch"}
    ran = await run(bench, engine, "- uses: my/d@v1\n- uses: my/d@v1", actions={"my/d@v1": files})
    assert engine.verbs() == ["build", "run", "run", "run", "run"]
    build, first, _, post, _ = engine.asked()
    assert build[-1].endswith("/_actions/my/d/v1")
    assert build[-2] == build[-1] + "/Dockerfile"
    assert first[-3:] == [build[2], "you", "a b"]
    assert "EXTRA" in after(first, "-e")
    assert after(post, "--entrypoint") == ["/bin/echo"]
    assert ran.text(1).splitlines()[-1] == "built, args:you a b"
    assert [step.name for step in ran.result.steps][-2:] == ["Post Run my/d@v1"] * 2


async def test_a_container_of_an_action_joins_the_jobs_network_and_dies_with_its_step(
    bench: Bench, engine: FakeEngine
) -> None:
    ran = await run(
        bench,
        engine,
        "- {uses: 'docker://slow:1', timeout-minutes: 0.01}",
        job="services: {db: {image: redis}}",
        limits=attrs.evolve(FAST, terminate_s=5.0),
    )
    words = engine.of("run")
    assert after(words, "--network") == after(engine.of("create"), "--network")
    assert ["rm", "--force", after(words, "--name")[0]] in engine.asked()
    assert ran.outcomes() == ["success", "failure", "success"]


async def test_cancelling_the_node_takes_containers_down(bench: Bench, engine: FakeEngine) -> None:
    async with trio.open_nursery() as nursery:

        async def job() -> None:
            await run(bench, engine, "- run: 'touch up; sleep 1000'", job="container: node:20")

        nursery.start_soon(job)
        await until(lambda: list((bench.root / "work").rglob("up")))
        nursery.cancel_scope.cancel()
    assert engine.verbs()[-2:] == ["rm", "network rm"]


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("redis", "https://index.docker.io/v1/"),
        ("me/redis:7", "https://index.docker.io/v1/"),
        ("ghcr.io/redis", "ghcr.io"),
        ("localhost:5000/redis", "localhost:5000"),
        ("registry/team/redis", "registry"),
    ],
)
def test_the_registry_of_an_image_is_in_its_name(image: str, registry: str) -> None:
    assert Spec(image=image).registry == registry


def test_what_an_engine_prints_is_read() -> None:
    assert read_ports(["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080", "53/udp -> 1.2.3.4:5353", "?"]) == {
        "80": "8080",
        "53": "5353",
    }
    assert read_path(["A=b", "PATH=/x:/y"]) == "/x:/y"
    assert read_path([]) == ""


def test_an_option_is_no_image() -> None:
    with pytest.raises(UsageError, match="not the name of an image"):
        read_spec("docker://--privileged")


def test_a_description_of_a_container_is_read() -> None:
    assert read_spec("") is None
    assert read_spec({"image": ""}) is None
    assert read_spec("docker://a:1") == Spec(image="a:1")
    spec = read_spec({"image": "a", "options": "-m '1 g'", "ports": [80.0, "1:2"]}, "s")
    assert spec == Spec(image="a", name="s", options=("-m", "1 g"), ports=("80", "1:2"))


SERVICE = "services: {db: {image: 'db', env: {PASSWORD: '${{ secrets.P }}', DOCKER_HOST: x, LANG: de}}}"


async def test_t47_a_secret_for_a_service_is_in_no_command_line(bench: Bench, engine: FakeEngine) -> None:
    ran = await run(bench, engine, "- run: 'true'", job=SERVICE, secrets={"P": "open-sesame"})
    assert ran.outcomes()[0] == "success"
    created = json.loads((engine.folder / "created.env").read_text())
    assert (created["PASSWORD"], created["LANG"]) == ("open-sesame", "de")
    assert "DOCKER_HOST=x" in after(engine.of("create"), "-e"), "what the engine's own program reads is not given to it"
    assert not any("open-sesame" in word for words in engine.all() for word in words)


async def test_t47_a_secret_for_a_service_is_in_a_command_line_without_the_guard(
    bench: Bench, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "is_read_by_engines", lambda _: True)
    await run(bench, engine, "- run: 'true'", job=SERVICE, secrets={"P": "open-sesame"})
    assert "PASSWORD=open-sesame" in after(engine.of("create"), "-e")
