"""What an error body says, whatever its shape."""

import json
from collections.abc import Callable
from typing import Any

from aiocircle.redaction import printable

PAGE = "(an HTML or XML page)"


def words_of(text: str, hide: Callable[[str], str]) -> tuple[Any, str]:
    """Return an error body as a value and as a line; services do not agree on its shape (facts, section 11)."""
    try:
        body = words = _hidden(json.loads(text), hide)
        while isinstance(words, dict):
            words = next((words[key] for key in ("message", "error", "detail", "title") if words.get(key)), None)
        return body, printable(" ".join(str(words or "").split())[:300])
    except (ValueError, RecursionError):
        text = hide(text)
        is_page = text.lstrip().startswith("<")
        return text[:500], PAGE if is_page else printable(" ".join(text.split())[:200])


def _hidden(value: Any, hide: Callable[[str], str]) -> Any:
    """Hide secrets in the strings of a JSON value, since its text may spell them with escapes."""
    if isinstance(value, dict):
        return {hide(key): _hidden(item, hide) for key, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item, hide) for item in value]
    return hide(value) if isinstance(value, str) else value
