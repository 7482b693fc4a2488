"""The OpenAPI document: its operations, with references resolved and path-level parameters put in place."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

Schema = Mapping[str, Any]

METHODS = ("get", "put", "post", "patch", "delete")
MEDIA_TYPE = "application/json"


@frozen(kw_only=True)
class Parameter:
    """A parameter of an operation, in its path or query."""

    name: str
    place: str
    required: bool
    schema: Schema


@frozen(kw_only=True)
class DocumentOperation:
    """An operation as the document has it. ``answers`` are the schemas of its 2xx answers, ``None`` without a body."""

    id: str
    method: str
    path: str
    parameters: tuple[Parameter, ...]
    body: Schema | None
    answers: Mapping[int, Schema | None]


class Document:
    """An OpenAPI 3.0 document."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content

    @classmethod
    def read(cls, path: Path) -> "Document":
        """Read a file."""
        return cls(json.loads(path.read_text(encoding="utf-8")))

    def resolve(self, node: Any) -> Any:
        """Return what a node refers to, or the node."""
        while "$ref" in node:
            found: Any = self._content
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            node = found
        return node

    def operations(self) -> Iterator[DocumentOperation]:
        """Yield every operation."""
        for path, item in self._content["paths"].items():
            for method in METHODS:
                if method in item:
                    yield self._operation(path, method, item[method], item.get("parameters", ()))

    def _operation(self, path: str, method: str, node: Any, shared: Any) -> DocumentOperation:
        found = {(each["in"], each["name"]): each for each in map(self.resolve, [*shared, *node.get("parameters", ())])}
        body = self.resolve(node["requestBody"]) if "requestBody" in node else None
        return DocumentOperation(
            id=node["operationId"],
            method=method.upper(),
            path=path,
            parameters=tuple(
                Parameter(name=name, place=place, required=each.get("required", False), schema=each.get("schema", {}))
                for (place, name), each in found.items()
            ),
            body=body and self.resolve(body["content"][MEDIA_TYPE]["schema"]),
            answers={
                int(status): self._schema_of(self.resolve(answer))
                for status, answer in node["responses"].items()
                if status.startswith("2")
            },
        )

    def _schema_of(self, answer: Any) -> Schema | None:
        content = answer.get("content")
        return self.resolve(content[MEDIA_TYPE]["schema"]) if content else None

    def flat(self, schema: Schema) -> Schema:
        """Return a schema with alternatives of objects merged into one object, and ``allOf`` into one schema."""
        schema = self.resolve(schema)
        if "allOf" in schema:
            return {key: value for part in schema["allOf"] for key, value in self.flat(part).items()}
        variants = [self.flat(part) for part in schema.get("anyOf", schema.get("oneOf", ()))]
        if not variants or not all("properties" in part for part in variants):
            return schema
        required = set.intersection(*(set(part.get("required", ())) for part in variants))
        properties = {key: value for part in variants for key, value in part["properties"].items()}
        return {"type": "object", "properties": properties, "required": sorted(required)}


def is_nullable(schema: Schema) -> bool:
    """Tell whether ``null`` may stand for a value."""
    return bool(schema.get("nullable") or schema.get("x-nullable"))
