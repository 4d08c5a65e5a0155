"""``wishlist``: the operator's command. What stands behind each of its commands is loaded when it is called for."""

from __future__ import annotations

import ast
import logging
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ops.outages import outages_told

_PROJECT = Path(__file__).parent.parent / "pyproject.toml"
# Module and name of each: a function, or a group of commands.
COMMANDS = {
    "doctor": "ops.doctor.command:doctor",
    "dlq": "ops.dead_letters.command:dlq",
    "replay": "ops.replay.command:replay",
    "archive": "ops.archive:app",
    "erase": "ops.erasure.command:erase",
    "delete": "ops.erasure.command:delete",
    "webhook": "ops.webhook:app",
    "previews": "ops.previews:previews",
    "dashboard": "ops.dashboard:dashboard",
    "simulate": "ops.simulation.command:simulate",
    "token": "ops.tokens:token",
    "migrate": "ops.upkeep:migrate",
    "rollback": "ops.upkeep:rollback",
    "topics": "ops.upkeep:topics",
    "ledger": "ops.upkeep:ledger",
    "sweep": "ops.upkeep:sweep",
    "seed": "ops.upkeep:seed",
    "documents": "ops.upkeep:documents",
}


class Lazily(TyperGroup):
    """Knows its commands by name, and loads the one that is wanted (Click's documentation, "Lazily loading").

    Typer carries a Click of its own, whose types it does not show.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        # Only their names are looked at, for "Did you mean …?".
        self.commands: dict[str, Any] = dict.fromkeys(COMMANDS)
        self._only_told_of = False

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name; None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        if self._only_told_of:
            return TyperCommand(cmd_name, help=summary(COMMANDS[cmd_name]))
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        found = getattr(import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False)
            alone.command(name=cmd_name)(found)
            found = alone
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The list of commands, without loading one of them."""
        self._only_told_of = True
        super().format_help(ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        """Whichever command it is: where a service is away it says so in a sentence."""
        with outages_told():
            return super().invoke(ctx)


def summary(target: str) -> str:
    """What the command at *target* says of itself, read from its source: its libraries take seconds to load."""
    module, _, attribute = target.partition(":")
    found = find_spec(module)
    assert found is not None and found.origin is not None
    for node in ast.parse(Path(found.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == attribute:
            return ast.get_docstring(node) or ""
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == attribute:
            assert isinstance(node.value, ast.Call)
            return next(str(ast.literal_eval(one.value)) for one in node.value.keywords if one.arg == "help")
    raise AttributeError(target)


app = typer.Typer(cls=Lazily, no_args_is_help=True, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wishlist {release()}")
        raise typer.Exit


def release() -> str:
    """The product's release."""
    return str(tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]["version"])


@app.callback()
def wishlist(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which release this is.")
    ] = False,
) -> None:
    """Operate wishlist-social."""
    # Each command says in a sentence which service is away; the driver's own lines would stand in between.
    logging.getLogger("librdkafka").setLevel(logging.CRITICAL)


if __name__ == "__main__":
    app(prog_name="wishlist")
