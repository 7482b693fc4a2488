"""``UNSET``: a parameter that is not given, where ``None`` would be sent as ``null``."""

from enum import Enum
from typing import Final


class Unset(Enum):
    """The type of ``UNSET``."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


UNSET: Final = Unset.UNSET
