"""What the command's exit status says, and which error leads to which."""

from enum import IntEnum

from aiocircle.errors import (
    AioCircleError,
    APIError,
    AuthenticationError,
    ConfigurationError,
    DeadlineError,
    DecodeError,
    ForbiddenError,
    NotFoundError,
    PaginationError,
    PartialDownloadError,
    PartialExportError,
    TransportError,
    WaitTooLongError,
)


class ExitCode(IntEnum):
    """The exit statuses, which do not change from version to version."""

    OK = 0
    GENERAL = 1
    USAGE = 2
    AUTH = 3
    API = 4
    NOT_FOUND = 5
    CANCELLED = 6
    VALIDATION = 7
    TIMEOUT = 8
    PARTIAL = 9
    WAIT_TOO_LONG = 10


class UsageError(AioCircleError):
    """The arguments do not make a command."""

    code = "usage"


class MissingError(AioCircleError):
    """What was asked for is not among what the host listed."""

    code = "missing"


# From the special to the general: the first that fits counts.
_CODES: tuple[tuple[type[AioCircleError], ExitCode], ...] = (
    (UsageError, ExitCode.USAGE),
    (MissingError, ExitCode.NOT_FOUND),
    (AuthenticationError, ExitCode.AUTH),
    (ForbiddenError, ExitCode.AUTH),
    (NotFoundError, ExitCode.NOT_FOUND),
    (APIError, ExitCode.API),
    (DecodeError, ExitCode.API),
    (PaginationError, ExitCode.API),
    (DeadlineError, ExitCode.TIMEOUT),
    (TransportError, ExitCode.API),
    (ConfigurationError, ExitCode.VALIDATION),
    (PartialDownloadError, ExitCode.PARTIAL),
    (PartialExportError, ExitCode.PARTIAL),
    (WaitTooLongError, ExitCode.WAIT_TOO_LONG),
)


def code_of(error: AioCircleError) -> ExitCode:
    """Return the exit code that an error leads to."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.GENERAL)


def root_of(error: BaseException) -> BaseException:
    """Return what went wrong inside groups of exceptions: an error of ours if there is one, else the first."""
    leaves = list(_leaves(error))
    return next((leaf for leaf in leaves if isinstance(leaf, AioCircleError)), leaves[0])


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]
