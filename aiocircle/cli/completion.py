"""``aiocircle completion``: what a shell needs to complete the command."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal, Optional

from aiocircle.cli.exits import ExitCode
from aiocircle.cli.output import Output

# Where the generated scripts know of nothing to complete, there may be a file: DIR of a command is one. In zsh flags
# would else end at the first argument, and what is generated for its $fpath does nothing in an eval.
_EDITS = {
    "bash": {"complete -F ": "complete -o default -F "},
    "zsh": {"          _arguments \\\n": "          _arguments '*:file:_files' \\\n"},
    "fish": {},
}
_ZSH_END = """
if [[ $funcstack[1] == _aiocircle ]]; then
  _cyclopts_aiocircle "$@"
else
  compdef _cyclopts_aiocircle aiocircle
fi"""


def completion(shell: Literal["bash", "zsh", "fish"], /) -> ExitCode:
    """Print a completion script, such as for: eval "$(aiocircle completion bash)".

    Args:
        shell: Which shell it is for.
    """
    from aiocircle.cli.api import api  # noqa: PLC0415 -- what the script is made from: not before it is asked for
    from aiocircle.cli.app import app  # noqa: PLC0415

    del app["api"]
    app.command(_naming_operations(api), name="api")
    script = app.generate_completion(prog_name="aiocircle", shell=shell)
    for generated, better in _EDITS[shell].items():
        script = script.replace(generated, better)
    Output().data(script.rstrip() + (_ZSH_END if shell == "zsh" else ""))
    return ExitCode.OK


def _naming_operations(command: Callable[..., ExitCode]) -> Callable[..., ExitCode]:
    """Return a stand-in for the command whose first argument is one of the names that it takes."""
    from aiocircle.cli.operations import METHODS, every_operation  # noqa: PLC0415

    @functools.wraps(command)
    def stand_in(*arguments: Any, **settings: Any) -> ExitCode:
        return command(*arguments, **settings)

    names = Optional[Literal[(*METHODS, *every_operation())]]  # type: ignore[valid-type]  # noqa: UP045
    first, *others = inspect.signature(command).parameters.values()
    stand_in.__annotations__ = {**command.__annotations__, first.name: names}
    stand_in.__signature__ = inspect.Signature([first.replace(annotation=names), *others])  # type: ignore[attr-defined]
    return stand_in
