"""Level container, with a real engine: what jobs get there, what they cannot get at, and how their containers end.

The engine has to start containers here; where none does, these tests say why and are skipped.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import trio

from p2pwf.errors import UsageError
from p2pwf.isolation import Level
from p2pwf.runner import containers, heldcontainer
from p2pwf.runner.containers import JobContainer, Mounts, Spec
from p2pwf.runner.environment import Folders
from p2pwf.runner.heldcontainer import GUARD, JOB_LABEL, Guard, Held
from p2pwf.runner.images import check_reference
from p2pwf.runner.isolation import hardened
from p2pwf.runner.isolation.bounds import Bounds
from p2pwf.runner.isolation.hardened import Hardening, checked, variable_file
from p2pwf.runner.isolation.keeper import Keeper
from p2pwf.runner.isolation.probe import probe
from p2pwf.runner.processes import Launch
from p2pwf.runner.services import LIFE
from p2pwf.runner.step import StepRun
from scripts import kills
from tests.runner.isolation import image
from tests.runner.isolation.attempts import ALLOWED, ATTEMPTS, OUT
from tests.runner.isolation.conftest import Apart
from tests.runner.isolation.registry import serve
from tests.runner.isolation.test_attempts import run, shared
from tests.runner.isolation.test_bounds import EATS, FORKS, MIB
from tests.runner.isolation.test_links import FILES, KEY, WRITES, all_kept, folder, names
from tests.runner.isolation.test_links import run as run_at
from tests.runner.kit import Bench
from tests.runner.native import Place

__all__ = ["folder", "shared"]


@pytest.fixture(scope="module", autouse=True)
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Settings for podman that an ordinary machine takes; a skip where nothing runs containers."""
    before = dict(os.environ)
    image.settings(tmp_path_factory.mktemp("engine"))
    reason = image.why_no_engine()
    if reason is not None:
        pytest.skip(reason)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
async def apart(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Apart]:
    """Every job of the bench is kept apart in a container."""
    keeper = Keeper(bench.root / "work", image=image.NAME)
    await trio.to_thread.run_sync(keeper.prepare)
    apart = Apart(keeper, Level.container)
    plain = Bench.env
    monkeypatch.setattr(Bench, "env", lambda *args, **more: apart.env(plain(*args, **more)))
    yield apart
    keeper.close()


def left() -> list[str]:
    """The names of all containers that jobs of this process have left."""
    words = ("--filter", f"label=p2pwf.life={LIFE}", "--format", "{{.Names}}")
    return image.ask("ps", "--all", *words).stdout.split()


def networks() -> set[str]:
    """The names of all networks of ours."""
    return {name for name in image.ask("network", "ls", "--format", "{{.Name}}").stdout.split() if "github_" in name}


async def test_a_job_runs_in_the_image_and_its_files_come_through(bench: Bench, apart: Apart) -> None:
    ran = await bench.run(
        """
        - run: |
            echo "in $(pwd) as $(id -u), home $HOME, $SAID"
            echo x > file; ln -s file link; echo "a=b" >> $GITHUB_OUTPUT; echo C=d >> $GITHUB_ENV
            echo said > /tmp/there
          id: one
          env: {SAID: "two\\nlines", LD_PRELOAD: /none, PS4: "$(id)"}
        - {shell: bash, run: "cat link /tmp/there; echo $C ${{ steps.one.outputs.a }} ${{ hashFiles('file') != '' }}"}
        - {shell: python, run: "import os; print(os.environ['RUNNER_TEMP'])"}
        """
    )
    assert ran.result.outcome == "success", ran.messages()
    text = ran.text()
    assert "in /__w/workflow/workflow as " in text
    assert "home /github/home, two\nlines" in text
    assert "as 0," not in text
    assert "x\nsaid\nd b true" in text
    assert "/__w/_temp" in text
    assert any("Isolation: container" in line for line in ran.said())
    assert left() == []


async def test_natives_find_what_steps_name(bench: Bench, apart: Apart) -> None:
    place = Place.at(bench)
    ran = await place.run(
        """
        - uses: actions/checkout@v4
        - run: cat README; echo made > /tmp/made; mkdir -p ~/.cache/x; echo kept > ~/.cache/x/y
        - {uses: actions/upload-artifact@v4, with: {name: mine, path: /tmp/made}}
        - {uses: actions/cache/save@v4, with: {key: k, path: ~/.cache/x}}
        - {uses: actions/download-artifact@v4, with: {name: mine, path: "${{ runner.temp }}/back"}}
        - run: cat ${{ runner.temp }}/back/made ${{ github.workspace }}/README
          working-directory: ${{ runner.temp }}
        - run: test $PWD = ${{ github.workspace }} && test -s ${{ github.event_path }}
        """,
        source={"README": "a source\n"},
    )
    assert ran.result.outcome == "success", (ran.messages(), ran.text())
    assert "a source\nmade\na source" in ran.text()
    assert len(ran.result.caches) == 1


async def test_a_job_without_a_network_has_none(bench: Bench, apart: Apart) -> None:
    apart.network = False
    ran = await bench.run("- run: ls /sys/class/net")
    assert ran.text(2) == "lo"
    ran = await bench.run("- run: 'true'", job=f"services: {{db: {{image: '{image.NAME}'}}}}")
    assert "services need a network" in ran.messages()[0]


async def test_the_level_is_available_once_a_job_has_run(bench: Bench, tmp_path: Path) -> None:
    found = await probe(Keeper(tmp_path / "jobs", image=image.NAME), bench.spawner, Level.container)
    assert found.available, found
    found = await probe(Keeper(tmp_path / "jobs", image="no-such-image:1"), bench.spawner, Level.container)
    assert not found.available
    assert "no-such-image" in found.text
    assert not (tmp_path / "jobs").exists()


async def test_nothing_runs_beside_the_container_if_that_does_not_start(bench: Bench, apart: Apart) -> None:
    apart.keeper.image = "no-such-image:1"
    ran = await bench.run("- {if: always(), run: id}\n- {if: always(), uses: ./a}", source={"a/action.yml": JS_ACTION})
    assert "no-such-image" in ran.messages()[0]
    assert "uid=" not in ran.text()
    assert "the container that keeps the job apart is not up" in " ".join(ran.messages())


JS_ACTION = "name: a\nruns: {using: node20, main: a.js}\n"


async def test_something_does_run_beside_it_without_the_guard(
    bench: Bench, apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart.keeper.image = "no-such-image:1"
    monkeypatch.setattr(StepRun, "launch", lambda _, *launched: Launch(*launched))
    ran = await bench.run("- {if: always(), run: id}")
    assert "uid=" in ran.text()


def test_t42_t43_no_attempt_gets_out_of_a_container(shared: Path) -> None:
    said = run("container", shared / "container", None)
    out = {name for name, text in said.items() if OUT in text}
    assert len(said) == len(ATTEMPTS)
    assert out <= ALLOWED[Level.container], {name: said[name] for name in out}


async def test_t34_a_fork_bomb_gets_no_further_than_its_bound(bench: Bench, apart: Apart) -> None:
    apart.bounds = Bounds(processes=40)
    ran = await bench.run(FORKS)
    assert "started 150" not in ran.text()
    assert "Resource temporarily unavailable" in ran.text()


async def test_t36_a_job_that_eats_memory_is_ended_and_not_the_machine(bench: Bench, apart: Apart) -> None:
    apart.bounds = Bounds(memory=100 * MIB)
    ran = await bench.run(EATS)
    assert f"had {400 * MIB}" not in ran.text()
    assert ran.result.outcome == "failure"


async def test_t34_t36_bounds_are_passed_without_the_guard(
    bench: Bench, apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart.bounds = Bounds(processes=40, memory=100 * MIB)
    monkeypatch.setattr(Hardening, "options", lambda _: iter(("--stop-signal", "SIGKILL")))
    ran = await bench.run(f"{FORKS}\n{EATS}")
    assert "started 150" in ran.text()
    assert f"had {400 * MIB}" in ran.text()


async def test_t37_a_job_can_write_to_what_is_counted_only(bench: Bench, apart: Apart) -> None:
    apart.bounds = Bounds(disk=64 * MIB, file=8 * MIB)
    ran = await bench.run(
        """
        - run: for place in / /usr /etc /__w /github; do echo > $place/x && echo wrote to $place; done; true
        - run: head -c 9437184 /dev/zero > a || true; wc -c < a
        - run: for n in $(seq 12); do head -c 6291456 /dev/zero > /tmp/$n; done; sleep 30; echo filled
        """
    )
    assert "wrote to" not in ran.text()
    assert str(8 * MIB) in ran.text()
    assert "has filled its folder" in (ran.result.error or "")


@pytest.mark.parametrize("steps", [FILES["an artifact"], FILES["an action"], FILES["an output file"]])
async def test_t40_a_planted_link_does_not_have_the_runner_read_the_key(
    bench: Bench, apart: Apart, folder: Path, steps: str
) -> None:
    place = Place.at(bench)
    assert KEY not in await all_kept(place, await run_at(place, folder, steps))


@pytest.mark.parametrize("steps", [WRITES["a checkout"], WRITES["a download"]])
async def test_t40_a_planted_link_does_not_have_the_runner_write_elsewhere(
    bench: Bench, apart: Apart, folder: Path, steps: str
) -> None:
    await run_at(Place.at(bench), folder, steps)
    assert names(folder) == {"key"}


@pytest.mark.parametrize("way", ["given up", "step timeout", "supervisor killed", "runner killed"])
def test_t35_no_process_of_a_container_outlives_its_job(shared: Path, way: str) -> None:
    survivors, _, said = kills.batch("container", way, shared / f"kills-{way.replace(' ', '-')}", 2, None)
    assert (survivors, said) == (0, "")


async def test_t35_what_heeds_no_input_is_removed_by_the_guard(tmp_path: Path) -> None:
    """As a container of docker whose image has a shell of its own mind, when the runner is gone: nobody of ours is its
    parent."""
    job, network = f"{JOB_LABEL}={tmp_path.name}", f"github_{os.getpid()}"
    assert image.ask("network", "create", network).returncode == 0
    words = ("--label", job, "--network", network, *image.LIMITS, "--stop-signal", "SIGKILL", image.NAME)
    assert image.ask("run", "--detach", *words, "sleep", "1000").returncode == 0
    command = ("/bin/sh", "-c", GUARD, "sh", str(image.engine()), job, network)
    async with trio.open_nursery() as nursery:
        guard = await nursery.start(partial(trio.run_process, command, stdin=subprocess.PIPE, capture_stdout=True))
        await trio.sleep(0.2)
        assert network in networks()
        await guard.stdin.aclose()  # what the end of the runner does, however it ends
    listed = image.ask("ps", "--all", "--quiet", "--filter", f"label={job}").stdout
    assert (listed, network in networks()) == ("", False)


def test_t35_a_container_ends_when_nobody_holds_its_input(tmp_path: Path) -> None:
    """As for docker, whose containers are no children of ours: the command line alone is killed."""
    done = image.ask("run", "--interactive", "--rm", *image.LIMITS, "--network", "none", image.NAME, *hardened.HOLD)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


REFUSED = (
    "--privileged", "--cap-add SYS_ADMIN", "--cap-add=ALL", "--pid host", "--pid=host", "--network host",
    "--net=host", "--ipc host", "--uts host", "--userns host", "--cgroupns host", "--device /dev/sda",
    "--device-cgroup-rule 'a *:* rwm'", "-v /:/host", "-v=/:/host", "--volume /:/host",
    "--mount type=bind,source=/,target=/host", "--volumes-from other", "--security-opt seccomp=unconfined",
    "--security-opt apparmor=unconfined", "--user 0", "-u root", "--group-add 0", "--memory 1t", "-m 1t",
    "--memory-swap -1", "--pids-limit -1", "--ulimit nofile=1:1", "--oom-kill-disable", "--cgroup-parent /",
    "--runtime crun", "--sysctl kernel.x=1", "--tmpfs /x", "--shm-size 1t", "--gpus all", "--env-file /etc/passwd",
    "-e HOME", "--env SECRET", "--label p2pwf.life=x", "--name other", "--rm", "-d", "-it", "--publish 80:80",
    "-p 80:80", "-P", "--add-host x:1.2.3.4", "--entrypoint sh", "--init", "--restart always", "--log-driver none",
    "--pull always", "--storage-opt size=1t", "--annotation a=b", "--hooks-dir /x", "-eHOME", "ubuntu", "--",
    "--rootfs /", "--read-only=false", "--secret x", "--systemd always", "--unsetenv x", "--cidfile /x",
)  # fmt: skip


@pytest.mark.parametrize("options", REFUSED)
def test_t42_options_that_reach_out_are_refused_by_name(options: str) -> None:
    spec = containers.read_spec({"image": "x", "options": options})
    assert spec is not None
    with pytest.raises(UsageError) as raised:
        checked(spec)
    named = options.split(maxsplit=1)[0].partition("=")[0][:2]
    assert named in raised.value.message or "takes the variable" in raised.value.message
    assert raised.value.hint


def test_other_options_stay_and_variables_leave_the_command_line() -> None:
    text = "--cpus 2 --health-cmd 'pg ready' --hostname=db -w /x -e A=b=c --env D= -eE=f --no-healthcheck --read-only"
    spec = containers.read_spec({"image": "x", "options": text, "env": {"G": "h"}})
    assert spec is not None
    kept = checked(spec)
    assert kept.options == (
        "--cpus=2", "--health-cmd=pg ready", "--hostname=db", "--workdir=/x", "--no-healthcheck", "--read-only",
    )  # fmt: skip
    assert kept.env == {"A": "b=c", "D": "", "E": "f", "G": "h"}


def test_volumes_are_refused_and_ports_are_not_published() -> None:
    with pytest.raises(UsageError, match="the service db has volumes"):
        checked(Spec(image="x", name="db", volumes=("/:/host",)))
    assert checked(Spec(image="x", name="db", ports=("80:80",))).ports == ()


def command(apart: bool, variables: Mapping[str, str]) -> tuple[tuple[str, ...], Mapping[str, str]]:
    own = {"HOME": "/root"}
    job = JobContainer(program="/bin/engine", id="c", path="", mounts=Mounts(()), environment=own, apart=apart)
    launch = job.launch(("sh", "x"), variables, Path("/w"), (), Path("/r"))
    return launch.arguments, launch.environment


DANGEROUS = ("LD_PRELOAD", "DOCKER_HOST", "CONTAINERS_CONF", "HOME", "PATH", "XDG_CONFIG_HOME", "BASH_ENV", "TMPDIR")


@pytest.mark.parametrize("name", DANGEROUS)
def test_t42_no_variable_of_a_step_reaches_the_engines_command_line(name: str) -> None:
    arguments, environment = command(True, {name: "the value", "GITHUB_SHA": "0", "INPUT_A B": "c"})
    assert "the value" not in (environment.get(name), *arguments)
    assert environment["HOME"] == "/root"
    assert (environment["GITHUB_SHA"], environment["INPUT_A B"]) == ("0", "c")
    assert "the value" in environment.values()
    script = arguments[arguments.index("-c") + 1]
    assert f'export {name}="$' in script
    with pytest.raises(UsageError, match="no shell can set"):
        command(True, {"BASH_FUNC_sh%%": "() { id; }"})


def test_t42_it_does_without_the_guard() -> None:
    assert command(False, {"LD_PRELOAD": "the value"})[1]["LD_PRELOAD"] == "the value"


def test_variables_that_no_file_can_tell_are_refused() -> None:
    assert variable_file({"A": "b #c", "D": ""}) == "A=b #c\nD=\n"
    for bad in ({"A": "b\nEVIL=1"}, {"A B": "c"}, {"A=B": "c"}, {"#A": "c"}, {"": "c"}, {"A": "b\rc"}):
        with pytest.raises(UsageError):
            variable_file(bad)


async def test_containers_of_a_registry_are_pulled_kept_and_gone(
    bench: Bench, apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not str(image.engine()).endswith("podman"):
        pytest.skip("docker takes no registry without TLS from a test")
    with serve(bench.root) as name:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(bench.root / "registries.conf"))
        job = f"""
        container: {{image: "{name}", env: {{A: b, LD_PRELOAD: /none}}, options: --cpus 1}}
        services:
          db:
            image: "{name}"
            env: {{MODE: "755"}}
            ports: ["5432:5432"]
            entrypoint: sh
            command: -c 'id -u; chown 7 /etc/shadow && echo mine; ls /github/workflow; sleep 1000'
        """
        steps = f"""
        - run: echo "$A as $(id -u)"; ps | grep '[s]leep 1000' || echo alone
        - uses: docker://{name}
          with: {{args: sh -c "id -u; pwd; echo $INPUT_ARGS; echo x > made; cat $GITHUB_EVENT_PATH"}}
          env: {{LD_LIBRARY_PATH: /none}}
        - run: cat made
        """
        ran = await bench.run(steps, job=job)
    assert ran.result.outcome == "success", (ran.messages(), ran.text())
    text = ran.text()
    assert "b as " in text
    assert "/github/workspace" in text
    assert any("No port of db is published here" in one for one in ran.messages())
    said = text.splitlines()
    assert "mine" in said, text
    assert "alone" in said, "a job sees processes of its services"
    assert any(line.startswith("ls: /github/workflow") for line in said), "a service has folders of the job"
    assert left() == []


LOOKS: Final = """\
import os, time
def look(process):
    words = dict(line.split(":", 1) for line in open("/proc/%s/status" % process))
    if os.fork():
        os.wait()
        return
    user, group = words["Uid"].split()[0], words["Gid"].split()[0]
    try:
        os.setresgid(int(group), int(group), int(group))
        os.setresuid(int(user), int(user), int(user))
        if "of-the-job" in os.listdir("/proc/%s/root/tmp" % process):
            print("REACHED", flush=True)
    finally:
        os._exit(0)
for _ in range(600):
    for process in os.listdir("/proc"):
        if process.isdigit() and int(process) != os.getpid():
            try:
                look(process)
            except OSError:
                pass
    time.sleep(0.05)
"""
"""A service that becomes whoever a process is that it sees, and looks for the files of that one."""


async def looked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    if not str(image.engine()).endswith("podman"):
        pytest.skip("docker takes no registry without TLS from a test")
    with serve(bench.root) as name:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(bench.root / "registries.conf"))
        service = {"image": name, "entrypoint": "python3", "command": f"-c {shlex.quote(LOOKS)}"}
        job = f"services: {{db: {json.dumps(service)}}}"
        ran = await bench.run("- run: touch /tmp/of-the-job; sleep 1; echo ran", job=job)
    assert ran.text(2) == "ran", ran.messages()
    return ran.text().splitlines()


async def test_t42_a_service_reaches_no_file_of_the_job(
    bench: Bench, apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "REACHED" not in await looked(bench, monkeypatch)
    assert left() == []


async def test_t42_a_service_reaches_them_without_the_guard(
    bench: Bench, apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(self: Held, *_: object) -> None:
        self.name = self.name.removesuffix("_s")  # the job's own

    monkeypatch.setattr(Held, "start_empty", none)
    assert "REACHED" in await looked(bench, monkeypatch)


async def test_t37_an_engine_keeps_nothing_of_what_a_job_prints(bench: Bench, apart: Apart) -> None:
    kept = set[str]()

    async def look() -> None:
        while not kept:
            await trio.sleep(0.1)
            for container in await trio.to_thread.run_sync(left):
                told = await trio.to_thread.run_sync(
                    image.ask, "inspect", "--format", "{{.HostConfig.LogConfig.Type}}", container
                )
                kept.update(told.stdout.split())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        ran = await bench.run("- run: head -c 1000000 /dev/zero > /proc/1/fd/1; sleep 3")
        nursery.cancel_scope.cancel()
    assert (ran.result.outcome, kept) == ("success", {"none"})


async def test_an_image_with_a_volume_in_a_folder_of_the_job_is_refused(bench: Bench, apart: Apart) -> None:
    """The engine, as root, would make its place on this machine's disk."""
    name = f"localhost/p2pwf-test-volume-{os.getpid()}"
    made = image.ask("create", *image.LIMITS, image.NAME, "true").stdout.strip()
    try:
        assert image.ask("commit", "--change", "VOLUME /__w/../__w/_temp//x", made, name).returncode == 0
        apart.keeper.image = name
        ran = await bench.run("- run: echo ran")
    finally:
        image.ask("rm", "--force", made)
        image.ask("image", "rm", "--force", name)
    assert "ran" not in ran.text().splitlines()
    assert any("has a volume in a folder of the job" in message for message in ran.messages())


@pytest.mark.parametrize("gone", [True, False])
async def test_t35_what_cannot_be_removed_is_left_to_the_guard(
    bench: Bench, apart: Apart, gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    plain_end = Held.end

    async def end(self: Held, step: int) -> bool:
        return await plain_end(self, step) and gone

    def telling(name: str) -> Callable[[Guard], None]:
        plain = getattr(Guard, name)

        def tell(self: Guard) -> None:
            told.append(name)
            plain(self)

        return tell

    monkeypatch.setattr(Held, "end", end)
    for name in ("dismiss", "let_go"):
        monkeypatch.setattr(Guard, name, telling(name))
    await bench.run("- run: echo ran")
    assert told == ["dismiss" if gone else "let_go"]


async def test_t37_a_service_that_fills_the_disk_ends_the_job(
    bench: Bench, apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not str(image.engine()).endswith("podman"):
        pytest.skip("docker takes no registry without TLS from a test")
    apart.bounds = Bounds(disk=8 * MIB)
    monkeypatch.setattr(heldcontainer, "SIZE_S", 0.2)
    with serve(bench.root) as name:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(bench.root / "registries.conf"))
        job = f"""
        services:
          db:
            image: "{name}"
            options: --health-cmd true --health-interval 1h
            entrypoint: sh
            command: -c 'head -c 12582912 /dev/zero > /filled; sleep 1000'
        """
        ran = await bench.run("- run: sleep 1000", job=job)
    assert "The services of the job have filled the disk: 12 MiB" in (ran.result.error or "")


async def test_what_would_build_an_image_is_refused(bench: Bench, apart: Apart) -> None:
    ran = await bench.run("- uses: ./a", source={"a/Dockerfile": "FROM scratch"})
    assert "has its image built, which is not done at isolation container" in " ".join(ran.messages())


@pytest.mark.parametrize(
    "name",
    ["dir:/etc", "oci:/x:1", "docker-archive:/root/x.tar", "containers-storage:a", "oci-archive:5/x", "/etc", "-v",
     "a b", "a:b:c", "--help", "A/../b c", "docker-daemon:x:1", "sif:x"],
)  # fmt: skip
def test_t42_no_file_of_the_machine_is_an_image(name: str) -> None:
    with pytest.raises(UsageError, match="not an image of a registry"):
        check_reference(name)


def test_names_of_images_are_what_registries_have() -> None:
    digest = "sha256:" + "0" * 64
    for name in ("debian", "debian:12", "ghcr.io/a/b-c:1.2", "localhost:5000/x_y", f"a.b/c@{digest}", f"a:1@{digest}"):
        check_reference(name)


LINKED = """
- run: cd /__w/workflow && mv workflow aside && ln -s {folder} workflow || echo kept
- run: cd /__w/_temp && mv _runner_file_commands aside && ln -s {folder} _runner_file_commands
  continue-on-error: true
- uses: docker://{image}
  with: {{args: sh -c "cat /github/workspace/file /github/runner_temp/_runner_file_commands/file || ls /github"}}
"""


async def act_on_links(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> str:
    """What an action says of the folders that it has, a job having put links to one of the machine in their places."""
    if not str(image.engine()).endswith("podman"):
        pytest.skip("docker takes no registry without TLS from a test")
    private = bench.root / "private"
    private.mkdir(0o700)
    open_one = private / "open"  # for everybody who gets past the one above, as an engine does
    open_one.mkdir(0o755)
    (open_one / "file").write_text(KEY)
    (open_one / "file").chmod(0o644)
    with serve(bench.root) as name:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(bench.root / "registries.conf"))
        return (await bench.run(LINKED.format(folder=open_one, image=name))).text()


async def test_t40_an_engine_mounts_nothing_that_a_planted_link_leads_to(
    bench: Bench, apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = await act_on_links(bench, monkeypatch)
    assert "kept" in said
    assert KEY not in said


async def test_t40_an_engine_mounts_it_without_the_guard(
    bench: Bench, apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = Folders.below
    monkeypatch.setattr(Folders, "below", lambda *given, **more: below(*given, **{**more, "fixed": False}))
    assert KEY in await act_on_links(bench, monkeypatch)
