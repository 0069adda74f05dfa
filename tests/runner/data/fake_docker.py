"""Stands in for the command line of docker where no engine runs, to test what it is asked and what comes of it.

It keeps containers as notes in the folder $FAKE_ENGINE and writes every command to its `asked.ndjson`. `exec` and `run`
start programs on this machine, with the paths of mounts turned back into this machine's: nothing is isolated, no image
is there. So it shows the order and the arguments of commands, and that output, step files and exit codes come through;
it shows nothing of a real engine.
"""

import json
import os
import sys
from pathlib import Path

HERE = Path(os.environ["FAKE_ENGINE"])
VALUED = {
    "--name", "--label", "--network", "--network-alias", "-p", "-e", "-v", "--workdir", "--entrypoint", "--cpus",
    "--health-cmd", "-t", "-f", "--format", "--filter",
}  # fmt: skip


def parse(words: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Options with their values, and what follows them."""
    options: list[tuple[str, str]] = []
    while words and words[0].startswith("-"):
        word = words.pop(0)
        name, equals, value = word.partition("=")
        options.append((name, value if equals else words.pop(0) if name in VALUED else ""))
    return options, words


def start(options: list[tuple[str, str]], mounts: list[str], words: list[str]) -> int:
    """Become a program as it would run inside: variables chosen by -e, paths back to where the mounts are from."""
    pairs = sorted((mount.split(":")[:2] for mount in mounts), key=lambda pair: -len(pair[1]))

    def outside(text: str) -> str:
        for here, there in pairs:
            if text == there or text.startswith(there + "/"):
                return here + text[len(there) :]
        return text

    env = {"PATH": os.environ["FAKE_PATH"]}
    folder = "/"
    for name, value in options:
        if name == "-e":
            key, equals, given = value.partition("=")
            if key != "PATH":  # that of an image means nothing here
                env[key] = outside(given if equals else os.environ.get(key, ""))
        elif name == "--workdir":
            folder = outside(value)
    os.chdir(folder)
    program = outside(words[0])
    try:
        os.execvpe(program, [program, *map(outside, words[1:])], env)  # noqa: S606 - an argument list, never a shell
    except OSError:
        return 127


def main(words: list[str]) -> int:
    with (HERE / "asked.ndjson").open("a") as file:
        file.write(json.dumps(words) + "\n")
    options, words = parse(words)
    if "DOCKER_CONFIG" in os.environ:
        (HERE / "login.json").write_text(Path(os.environ["DOCKER_CONFIG"], "config.json").read_text())
    verb = words.pop(0)
    if (HERE / f"fail-{verb}").exists():
        print(f"{verb} failed as it was told to", file=sys.stderr)
        return 1
    if verb in ("version", "info"):
        print("99.9")
    elif verb == "create":
        options, words = parse(words)
        name = dict(options)["--name"]
        mounts = [value for option, value in options if option == "-v"]
        (HERE / name).write_text(json.dumps(mounts))
        named = {value: os.environ.get(value) for option, value in options if option == "-e" and "=" not in value}
        (HERE / "created.env").write_text(json.dumps(named))
        print(name)
    elif verb == "exec":
        options, words = parse(words)
        return start(options, json.loads((HERE / words[0]).read_text()), words[1:])
    elif verb == "run":
        options, words = parse(words)
        entry = dict(options).get("--entrypoint")
        mounts = [value for option, value in options if option == "-v"]
        # An "image" is a line for sh here; the arguments follow it.
        program = [entry] if entry else ["sh", "-c", IMAGES[words[0].split(":")[0]], "image"]
        return start(options, mounts, [*program, *words[1:]])
    elif verb == "inspect":
        options, words = parse(words)
        if "Health" in dict(options)["--format"]:
            states = HERE / "health"
            lines = states.read_text().split() if states.exists() else []
            if lines:
                print(lines[0])
                states.write_text(" ".join(lines[1:]))
        else:
            print("PATH=/image/bin:/bin\nOTHER=x")
    elif verb == "port":
        print("6379/tcp -> 0.0.0.0:49153\n6379/tcp -> [::]:49153")
    elif verb == "ps":
        print((HERE / "left").read_text() if (HERE / "left").exists() else "", end="")
    elif verb == "logs":
        print("the service says hello")
    elif verb == "rm":
        (HERE / words[-1]).unlink(missing_ok=True)
    return 0


IMAGES = {
    "greet": 'echo "args:$*"; echo "in $PWD, $INPUT_WHO $CI $HOME"; echo "said=hi" >> "$GITHUB_OUTPUT"; '
    'echo "kept=1" >> "$GITHUB_STATE"; exit ${CODE:-0}',
    "p2pwf": 'echo "built, args:$*"',
    "slow": "sleep 1000",
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
