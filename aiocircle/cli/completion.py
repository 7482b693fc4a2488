"""``aiocircle completion``: what a shell needs to complete the command."""

import functools
import inspect
from collections.abc import Callable, Sequence
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
    from aiocircle.cli.export import export  # noqa: PLC0415
    from aiocircle.cli.operations import METHODS, every_operation  # noqa: PLC0415
    from aiocircle.export.datasets import GROUPS, NAMES  # noqa: PLC0415

    for command, names in ((api, (*METHODS, *every_operation())), (export, (*GROUPS, *NAMES))):
        name = command.__name__
        del app[name]
        app.command(_naming(command, names), name=name)
    script = app.generate_completion(prog_name="aiocircle", shell=shell)
    for generated, better in _EDITS[shell].items():
        script = script.replace(generated, better)
    Output().data(script.rstrip() + (_ZSH_END if shell == "zsh" else ""))
    return ExitCode.OK


def _naming(command: Callable[..., ExitCode], names: Sequence[str]) -> Callable[..., ExitCode]:
    """Return a stand-in for a command whose first argument is one of the names that it takes."""

    @functools.wraps(command)
    def stand_in(*arguments: Any, **settings: Any) -> ExitCode:
        return command(*arguments, **settings)

    named = Optional[Literal[tuple(names)]]  # type: ignore[valid-type]  # noqa: UP045
    first, *others = inspect.signature(command).parameters.values()
    stand_in.__annotations__ = {**command.__annotations__, first.name: named}
    stand_in.__signature__ = inspect.Signature([first.replace(annotation=named), *others])  # type: ignore[attr-defined]
    return stand_in
