"""`p2pwf help` and `p2pwf completion`: the whole of the command line, for people and for their shells."""

from __future__ import annotations

from collections.abc import Iterator

import click

from p2pwf.cli.base import Session, anywhere
from p2pwf.errors import UsageError

SHELLS = ("bash", "zsh", "fish")


@click.command("help")
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
@click.option("--all", "whole", is_flag=True, help="Of all commands below it, too.")
@anywhere
@click.pass_obj
@click.pass_context
def help_(context: click.Context, session: Session, words: tuple[str, ...], whole: bool) -> None:
    """Show the help of a command, or the whole reference.

    \b
      p2pwf help workflow submit
      p2pwf help --all | less
    """
    named = _named(context.find_root(), words)
    found = [(one.command_path, one.get_help()) for one in (_below(named) if whole else [named])]
    session.answer(
        [{"command": path, "help": text} for path, text in found],
        lambda _: click.echo("\n\n".join(f"# {path}\n\n{text}" for path, text in found) if whole else found[0][1]),
    )


def _named(root: click.Context, words: tuple[str, ...]) -> click.Context:
    """The context of the command that words lead to. Raises UsageError, with what is near, if none is there."""
    context = root
    for word in words:
        command = context.command
        if not isinstance(command, click.Group):
            raise UsageError(
                f"`{context.command_path}` has no commands below it", f"see `{context.command_path} --help`"
            )
        _, found, _ = command.resolve_command(context, [word])
        assert found is not None
        context = click.Context(found, info_name=word, parent=context)
    return context


def _below(context: click.Context) -> Iterator[click.Context]:
    """A command and all below it, in the order of the help."""
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            assert command is not None
            yield from _below(click.Context(command, info_name=name, parent=context))


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@anywhere
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what teaches a shell to complete commands, options, runs and peers.

    \b
      p2pwf completion bash > ~/.local/share/bash-completion/completions/p2pwf
      p2pwf completion zsh > ~/.zfunc/_p2pwf           (a folder of $fpath)
      p2pwf completion fish > ~/.config/fish/completions/p2pwf.fish
    """
    from click.shell_completion import get_completion_class

    from p2pwf.cli.main import COMPLETION_ENV

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "p2pwf", COMPLETION_ENV).source())
