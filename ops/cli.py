"""``wishlist``: the operator's command. What stands behind each of its commands is loaded when it is called for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

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

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name; None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        found = getattr(import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False)
            alone.command(name=cmd_name)(found)
            found = alone
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command


app = typer.Typer(cls=Lazily, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def wishlist() -> None:
    """Operate wishlist-social."""


if __name__ == "__main__":
    app(prog_name="wishlist")
