"""What filters passed over, for who wonders why nothing matched: a status or a name that is mistyped is no error."""

MOST = 10  # of each kind


class Seen:
    """The first different values of each kind that were there and not wanted."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, None]] = {}

    def note(self, kind: str, value: object) -> None:
        """Note a value, such as one of the ``statuses``."""
        values = self._values.setdefault(kind, {})
        if len(values) <= MOST:
            values[str(value)] = None

    def in_words(self) -> str | None:
        """Return what was seen, by kind; ``None`` if it was nothing."""
        kinds = [
            f"{kind} {', '.join(sorted(values)[:MOST])}{' and others' if len(values) > MOST else ''}"
            for kind, values in self._values.items()
        ]
        return f"nothing matched: {'; '.join(kinds)} were seen" if kinds else None
