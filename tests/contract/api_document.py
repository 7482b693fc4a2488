"""The API document as a judge of requests and a writer of answers. Shares nothing with the generator."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from attrs import frozen
from jsonschema import Draft202012Validator, FormatChecker

DOCUMENT = json.loads((Path(__file__).parents[2] / "scripts/openapi/openapi-v2.json").read_text(encoding="utf-8"))
FORMATS = FormatChecker(["uuid"])
MEDIA_TYPE = "application/json"
# How many segments of a path a parameter takes.
SEGMENTS = {"project-slug": 3, "org-slug": 2}
# Where the client leaves the document on purpose: see corrections.toml.
ARRAYS = {"branches", "workflow-names", "project-names"}
MORE_IN_BODY = {name: {"verify_tls", "signing_secret"} for name in ("createWebhook", "updateWebhook")}


@FORMATS.checks("date-time", raises=ValueError)
def is_timestamp(value: object) -> bool:
    return not isinstance(value, str) or (value.endswith("Z") and datetime.fromisoformat(value) is not None)


def looked_up(node: Any) -> Any:
    """Follow a reference."""
    while "$ref" in node:
        found = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def resolved(schema: Any) -> Any:
    """Return plain JSON Schema: references put in place, OpenAPI's nullable spelled out, objects closed."""
    if isinstance(schema, list):
        return [resolved(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return resolved(looked_up(schema))
    plain = {key: resolved(value) for key, value in schema.items() if key != "properties"}
    if "properties" in schema:
        plain["properties"] = {key: resolved(value) for key, value in schema["properties"].items()}
        plain.setdefault("additionalProperties", False)
    elif "oneOf" in schema:
        plain.pop("additionalProperties", None)  # it would forbid what the alternatives allow
    if plain.get("nullable") is True or plain.get("x-nullable") is True:
        return {"anyOf": [plain, {"type": "null"}]}
    return plain


def errors_of(schema: Any, value: Any) -> list[str]:
    """Return how a value departs from a schema of the document."""
    found = Draft202012Validator(resolved(schema), format_checker=FORMATS).iter_errors(value)
    return [f"{error.json_path}: {error.message[:200]}" for error in found]


@frozen
class Operation:
    """An operation of the document."""

    id: str
    method: str
    path: str
    node: Mapping[str, Any]
    parameters: Mapping[tuple[str, str], Any]

    @property
    def answers(self) -> dict[int, Any]:
        """The schemas of its 2xx answers by status; ``None`` without a body."""
        nodes = {int(code): looked_up(node) for code, node in self.node["responses"].items() if code.startswith("2")}
        return {
            code: node["content"][MEDIA_TYPE]["schema"] if node.get("content") else None for code, node in nodes.items()
        }

    @property
    def body(self) -> Any:
        """The schema of its body, or ``None``."""
        return (
            looked_up(self.node["requestBody"])["content"][MEDIA_TYPE]["schema"] if "requestBody" in self.node else None
        )

    def match(self, path: str) -> dict[str, str] | None:
        """Return the parameters in a path, or ``None`` if it is another operation's."""
        pattern = re.sub(r"\\{([^}]+)\\}", _pattern_of, re.escape(self.path))
        found = re.fullmatch(pattern, path)
        if found is None:
            return None
        names = re.findall(r"{([^}]+)}", self.path)
        return {name: unquote(text) for name, text in zip(names, found.groups(), strict=True)}

    def problems(self, found: Mapping[str, str], query: list[tuple[str, str]], body: bytes) -> list[str]:
        """Return how a request departs from the document."""
        return [*self._in_path(found), *self._in_query(query), *self._in_body(body)]

    def _in_path(self, found: Mapping[str, str]) -> Iterator[str]:
        for name, text in found.items():
            yield from errors_of(self.parameters["path", name].get("schema", {}), text)

    def _in_query(self, query: list[tuple[str, str]]) -> Iterator[str]:
        given: dict[str, list[str]] = {}
        for name, text in query:
            given.setdefault(name, []).append(text)
        declared = {name: node for (place, name), node in self.parameters.items() if place == "query"}
        yield from (
            f"query: {name} is missing" for name, node in declared.items() if node.get("required") and name not in given
        )
        for name, texts in given.items():
            if name in ARRAYS and name in declared:
                continue
            if len(texts) > 1:
                yield f"query: {name} is given {len(texts)} times"
            elif name in declared:
                yield from errors_of(declared[name]["schema"], _typed(texts[0], declared[name]["schema"].get("type")))
            elif name != "page-token":
                yield f"query: {name} is unknown"

    def _in_body(self, body: bytes) -> list[str]:
        if self.body is None:
            return ["a body where there is none"] if body else []
        if not body:
            return ["no body"]
        value = json.loads(body)
        return errors_of(
            self.body, {key: item for key, item in value.items() if key not in MORE_IN_BODY.get(self.id, ())}
        )


def _pattern_of(found: re.Match[str]) -> str:
    return f"({'/'.join(['[^/]+'] * SEGMENTS.get(found[1].replace(chr(92), ''), 1))})"


def _typed(text: str, kind: str | None) -> Any:
    return json.loads(text) if kind in {"integer", "number", "boolean"} else text


def _operations() -> Iterator[Operation]:
    for path, item in DOCUMENT["paths"].items():
        for method, node in item.items():
            if method not in {"get", "put", "post", "patch", "delete"}:
                continue
            nodes = map(looked_up, [*item.get("parameters", ()), *node.get("parameters", ())])
            parameters = {(each["in"], each["name"]): each for each in nodes}
            yield Operation(node["operationId"], method.upper(), path, node, parameters)


OPERATIONS = {operation.id: operation for operation in _operations()}


def find(method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
    """Return the operation of a request, the most literal one where several match."""
    matches = [
        (each, found)
        for each in OPERATIONS.values()
        if each.method == method and (found := each.match(path)) is not None
    ]
    return min(matches, key=lambda pair: pair[0].path.count("{"), default=None)


# --- examples --------------------------------------------------------------------------------------------------------


class Examples:
    """Writes values that a schema allows: with everything in them, or with as little as is allowed."""

    def __init__(self, *, sparse: bool) -> None:
        self._sparse = sparse
        self._numbers = count(1)

    def of(self, schema: Any, name: str = "") -> Any:  # noqa: PLR0911 -- one line for each kind of schema
        """Return an example; ``name`` tells what it is where the schema does not."""
        schema = looked_up(schema)
        if self._sparse and (schema.get("nullable") or schema.get("x-nullable")):
            return None
        for word in ("anyOf", "oneOf", "allOf"):
            if word in schema:
                return self.of(schema[word][0], name)
        if "enum" in schema:
            return schema["enum"][0]
        match "object" if "properties" in schema else schema.get("type"):
            case "object":
                return self._object(schema)
            case "array":
                return [] if self._sparse else [self.of(schema["items"], name) for _ in range(2)]
            case "integer":
                return next(self._numbers)
            case "number":
                return float(next(self._numbers))
            case "boolean":
                return True
            case _:
                return self._text(schema, name)

    def _object(self, schema: Any) -> dict[str, Any]:
        properties = schema.get("properties", {})
        wanted = {*schema.get("required", ()), "items"} & properties.keys() if self._sparse else properties
        given = {key: self.of(properties[key], key) for key in properties if key in wanted}
        inner = schema.get("additionalProperties")
        if not properties and not self._sparse:
            given["some_key"] = self.of(inner) if isinstance(inner, dict) else {"deep": [1]}
        return given

    def _text(self, schema: Any, name: str) -> str:
        number = next(self._numbers)
        kind = schema.get("format")
        if kind == "uuid" or (kind is None and name.endswith("_id") and not schema):
            return f"00000000-0000-4000-8000-{number:012}"
        if name.endswith("workflow-id") and not schema:
            return f"00000000-0000-4000-8000-{number:012}"
        if kind == "date-time" or name.endswith("created-at"):
            return f"2026-11-23T08:00:00.{number:03}Z"
        return "1h30m" if "pattern" in schema else f"words {number}"
