"""What type checkers are told about the blocking client is what the asynchronous one offers."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _parts(text: str) -> tuple[set[str], list[str]]:
    """Return the names that a stub imports, and all else that it says, however it is formatted."""
    body = ast.parse(text).body
    imported = {
        f"{node.module}.{alias.name}" for node in body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    for node in ast.walk(ast.Module(body, [])):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = " ".join(node.value.split())
    return imported, [ast.dump(node) for node in body if not isinstance(node, ast.ImportFrom)]


def test_the_stub_is_what_the_asynchronous_classes_lead_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """``python -m scripts.generate_blocking`` mends it."""
    monkeypatch.syspath_prepend(str(ROOT))
    from scripts.generate_blocking import TARGET, generate

    assert _parts(generate()) == _parts(TARGET.read_text(encoding="utf-8"))


def test_the_stub_turns_awaitables_into_values() -> None:
    text = (ROOT / "aiocircle/blocking.pyi").read_text(encoding="utf-8")
    classes = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}
    assert len(classes) > 25
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            result = ast.unparse(node.returns or ast.Constant(None))
            assert not result.startswith(("Call", "Paginator", "Coroutine", "Awaitable")), node.name
        assert not isinstance(node, ast.AsyncFunctionDef)
