"""The generator: what it writes is what lies in the package, and what it cannot name it refuses."""

import ast
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.generate_api import SOURCES, TARGET, main

GET_USER = ("paths", "/me", "get", "responses", "200", "content", "application/json", "schema")

ROLLBACK = ("components", "schemas", "rollbackProjectResponse", "properties")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SOURCES, tmp_path / "sources"))


def check(sources: Path) -> int:
    return main(["--check", "--sources", str(sources)])


def change(sources: Path, *path: str) -> Callable[[Callable[[Any], None]], None]:
    """Change the part of the document at a path."""

    def apply(edit: Callable[[Any], None]) -> None:
        file = sources / "openapi-v2.json"
        document = json.loads(file.read_text(encoding="utf-8"))
        part = document
        for name in path:
            part = part[name]
        edit(part)
        file.write_text(json.dumps(document), encoding="utf-8")

    return apply


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_the_package_is_what_the_generator_writes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0
    assert capsys.readouterr().out == ""


def test_it_writes_the_same_each_time_and_removes_what_it_no_longer_writes(tmp_path: Path) -> None:
    (tmp_path / "left_over.py").write_text("")
    assert main(["--target", str(tmp_path)]) == 0
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_text(encoding="utf-8") for path in TARGET.glob("*.py")}


def test_a_changed_structure_fails_the_check_with_a_diff(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(sources, *ROLLBACK)(lambda part: part.update(shoe_size={"type": "integer"}))
    change(sources, "paths", "/pipeline/{pipeline-id}", "get")(lambda part: part["parameters"].append(COLOUR))
    replace(sources / "names.toml", "[parameters]", '[parameters]\ncolour = "Its colour."')
    assert check(sources) == 1
    diff = capsys.readouterr().out
    assert "+    shoe_size: int | None = None" in diff
    assert "+    def get(self, pipeline_id: UUID | str, *, colour: str | None = None) -> Call[Pipeline]:" in diff


COLOUR = {"in": "query", "name": "colour", "schema": {"type": "string"}}


def refused(sources: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert check(sources) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


@pytest.mark.parametrize("name", ["User1", "User_1", "user", "Users"])
def test_a_class_that_is_numbered_or_misnamed_is_refused(
    sources: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    replace(sources / "names.toml", "\nUser = {", f"\n{name} = {{")
    assert name in refused(sources, capsys)


def test_a_shape_without_a_name_is_refused(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shoe = {"type": "object", "properties": {"size": {"type": "integer"}}}
    change(sources, *GET_USER, "properties")(lambda part: part.update(shoe=shoe))
    assert "getCurrentUser.shoe" in refused(sources, capsys)


def test_an_operation_without_a_name_is_refused(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(sources, "paths", "/me", "get")(lambda part: part.update(operationId="getMyself"))
    assert "getMyself" in refused(sources, capsys)


def test_a_parameter_without_words_is_refused(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(sources, "paths", "/pipeline/{pipeline-id}", "get")(lambda part: part["parameters"].append(COLOUR))
    assert "colour" in refused(sources, capsys)


def test_one_name_for_fields_of_two_kinds_is_refused(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replace(
        sources / "names.toml",
        'UsageExport = { at = ["createUsageExport"',
        'UsageExport = { at = ["getJob", "createUsageExport"',
    )
    change(sources, "components", "schemas", "getJobResponse", "properties")(
        lambda part: part.update(state={"type": "integer"})
    )
    replace(sources / "names.toml", 'Job = { at = ["listWorkflowJobs", "getJob"]', 'Job = { at = ["listWorkflowJobs"]')
    assert "UsageExport.state is" in refused(sources, capsys)


def test_a_correction_that_corrects_nothing_is_refused(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replace(sources / "corrections.toml", '"EnvVar.created_at"]', '"EnvVar.created_at", "EnvVar.colour"]')
    assert "EnvVar.colour" in refused(sources, capsys)


def test_a_correction_without_a_reason_is_refused(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = sources / "corrections.toml"
    file.write_text(
        re.sub(r'reason = "declared as a floating.*', "", file.read_text(encoding="utf-8")), encoding="utf-8"
    )
    assert "FlakyTests.total_flaky_tests has no reason" in refused(sources, capsys)


def test_nothing_written_is_numbered_or_long() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in TARGET.glob("*.py")}
    assert re.findall(r"class \w*\d\w*|def \w*\d\b", "\n".join(texts.values())) == []
    assert sum(text.count("\n") for text in texts.values()) <= 4000


def test_every_method_of_a_resource_is_one_statement() -> None:
    bodies = [
        [part for part in method.body if not isinstance(part, ast.Expr)]
        for path in TARGET.glob("*.py")
        for part in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(part, ast.ClassDef) and [ast.unparse(base) for base in part.bases] == ["Resource"]
        for method in part.body
        if isinstance(method, ast.FunctionDef)
    ]
    assert len(bodies) == 115
    assert {len(body) for body in bodies} == {1}
