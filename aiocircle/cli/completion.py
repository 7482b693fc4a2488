"""``aiocircle completion``: what a shell needs to complete the command."""

from typing import Literal

from aiocircle.cli.exits import ExitCode
from aiocircle.cli.output import Output


def completion(shell: Literal["bash", "zsh", "fish"], /) -> ExitCode:
    """Print a completion script, such as for: source <(aiocircle completion bash).

    Args:
        shell: Which shell it is for.
    """
    from aiocircle.cli.app import app  # noqa: PLC0415 -- the script is made from the whole app, this command included

    Output().data(app.generate_completion(prog_name="aiocircle", shell=shell))
    return ExitCode.OK
