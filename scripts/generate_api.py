"""Write ``aiocircle/api/`` from CircleCI's document and our tables: ``python -m scripts.generate_api [--check]``."""

import argparse
import difflib
import sys
from pathlib import Path

from scripts.generator.document import Document
from scripts.generator.methods import Methods
from scripts.generator.render import Renderer, formatted
from scripts.generator.shapes import Shapes
from scripts.generator.tables import GeneratorError, Tables

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "scripts/openapi"
TARGET = ROOT / "aiocircle/api"


def generate(sources: Path) -> dict[str, str]:
    """Return the text of every file of ``aiocircle/api/`` by its name.

    Raises:
        GeneratorError: The document and the tables do not fit together.
    """
    document, tables = Document.read(sources / "openapi-v2.json"), Tables.read(sources)
    operations = list(document.operations())
    _same({each.id for each in operations}, set(tables.names["operations"]), "operation")
    modules = {name: entry["module"] for name, entry in tables.names["resources"].items()}
    calls = {each.id: tables.names["operations"][each.id]["call"].split(".")[0] for each in operations}
    _same(set(calls.values()), set(modules), "resource")
    shapes = Shapes(document, tables, {id_: modules[resource] for id_, resource in calls.items()})
    shapes.collect(operations)
    methods = [Methods(document, tables, shapes).method(each) for each in operations]
    files = Renderer(shapes.classes, methods, tables).files()
    if unused := tables.unused():
        raise GeneratorError("the tables have what the document does not ask for:\n  " + "\n  ".join(unused))
    return formatted(files, ROOT)


def _same(found: set[str], named: set[str], what: str) -> None:
    if found != named:
        raise GeneratorError(f"no {what} is, or none is named: {', '.join(sorted(found ^ named))}")


def differences(files: dict[str, str], target: Path) -> str:
    """Return, as a diff, what writing the files would change."""
    present = {path.name: path.read_text(encoding="utf-8") for path in target.glob("*.py")}
    return "".join(
        line
        for name in sorted(files.keys() | present.keys())
        for line in difflib.unified_diff(
            present.get(name, "").splitlines(keepends=True),
            files.get(name, "").splitlines(keepends=True),
            f"{name} (as it is)",
            f"{name} (as it would be generated)",
        )
    )


def write(files: dict[str, str], target: Path) -> None:
    """Write the files, and remove what is no longer generated."""
    target.mkdir(exist_ok=True)
    for path in target.glob("*.py"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (target / name).write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail with a diff if anything would change")
    parser.add_argument("--sources", type=Path, default=SOURCES, help="the document and the tables")
    parser.add_argument("--target", type=Path, default=TARGET, help="the package to write")
    given = parser.parse_args(arguments)
    try:
        files = generate(given.sources)
    except GeneratorError as error:
        print(f"generate_api: {error}", file=sys.stderr)
        return 2
    if not given.check:
        write(files, given.target)
        return 0
    found = differences(files, given.target)
    print(found, end="")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
