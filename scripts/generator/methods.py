"""Operations as methods: where each is found, what its parameters are called, and where they go."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import evolve, field, frozen

from scripts.generator.document import Document, DocumentOperation, Parameter, Schema, is_nullable
from scripts.generator.shapes import Shapes
from scripts.generator.tables import GeneratorError, Tables

TRIPLE = "{provider}/{organization}/{project}"
USUAL_KEY = ("id",)
PAGE_TOKEN = "page-token"


@frozen(kw_only=True)
class Argument:
    """A parameter of a method.

    ``sent_as`` is the expression that has it in the query or body, by key; keys of nested objects have a dot.
    """

    name: str
    wire: str
    place: str
    type: str
    default: str | None
    doc: str
    sent_as: tuple[str, ...]


@frozen(kw_only=True)
class Method:
    """A method of a resource."""

    operation: DocumentOperation
    resource: str
    verb: str
    name: str
    doc: str
    more: str
    template: str
    pages: str | None
    key: tuple[str, ...]
    idempotent: bool
    answers: Mapping[int, str]
    arguments: tuple[Argument, ...] = field(default=())

    @property
    def constant(self) -> str:
        """The name of its operation's constant."""
        return f"{self.resource}_{self.verb}".upper()

    def at(self, place: str) -> list[Argument]:
        """Return the arguments that go to a place."""
        return [each for each in self.arguments if each.place == place]


class Methods:
    """Turns operations into methods."""

    def __init__(self, document: Document, tables: Tables, shapes: Shapes) -> None:
        self._document = document
        self._tables = tables
        self._shapes = shapes

    def method(self, operation: DocumentOperation) -> Method:
        """Return the method of an operation."""
        entry = self._tables.word("operations", operation.id)
        resource, verb = entry["call"].split(".")
        pages = self._pages_of(operation)
        answers = self._answers_of(operation)
        arguments = tuple(self._arguments_of(operation, pages))
        return Method(
            operation=operation,
            resource=resource,
            verb=verb,
            name=entry.get("name") or words_of(operation.id),
            doc=entry["doc"],
            more=entry.get("more", ""),
            template=self._template_of(operation),
            pages=pages,
            key=self._key_of(operation, answers) if pages else (),
            idempotent=bool(self._tables.correction("idempotent", "", operation.id)),
            answers=answers,
            arguments=tuple(sorted(arguments, key=lambda each: (each.place != "path", each.default is not None))),
        )

    def _pages_of(self, operation: DocumentOperation) -> str | None:
        kinds = {self._shapes.kind_of_pages(schema) for schema in operation.answers.values()}
        by_offset = any(each.name == "offset" for each in operation.parameters)
        return "offset" if by_offset else next(iter(kinds))

    def _answers_of(self, operation: DocumentOperation) -> dict[int, str]:
        found = {
            status: "None" if schema is None else self._shapes.type_of(schema, place)
            for status, (place, schema) in self._shapes.answers_of(operation).items()
        }
        found = {status: kind.replace("Mapping[", "dict[") for status, kind in found.items()}
        return found if len(set(found.values())) > 1 else dict(list(found.items())[:1])

    def _key_of(self, operation: DocumentOperation, answers: Mapping[int, str]) -> tuple[str, ...]:
        fields = self._tables.correction("key", "fields", operation.id)
        items = self._shapes.classes[next(iter(answers.values()))].fields
        if fields is None:
            fields = USUAL_KEY
        if missing := set(fields) - set(items):
            raise GeneratorError(f"items of {operation.id} have no {', '.join(missing)} to tell them apart by")
        return tuple(fields)

    # --- parameters --------------------------------------------------------------------------------------------------

    def _public(self, operation: DocumentOperation, wire: str) -> str:
        own = self._tables.names["operations"][operation.id].get("rename", {})
        renamed: str | None = own.get(wire) or self._tables.word("renames", f"{operation.id}.{wire}", wire)
        return renamed or wire.replace("-", "_")

    def _template_of(self, operation: DocumentOperation) -> str:
        path = operation.path.replace(TRIPLE, "{provider}")
        return re.sub(r"{([^}]+)}", lambda found: f"{{{self._public(operation, found[1])}}}", path)

    def _arguments_of(self, operation: DocumentOperation, pages: str | None) -> Iterator[Argument]:
        in_path = re.findall(r"{([^}]+)}", operation.path.replace(TRIPLE, "{provider}"))
        for name in in_path:
            yield self._path_argument(operation, next(each for each in operation.parameters if each.name == name))
        yield from self._body_arguments(operation)
        declared = {each.name: each for each in operation.parameters if each.place == "query"}
        for parameter in declared.values():
            if parameter.name != PAGE_TOKEN:
                yield self._query_argument(operation, parameter)
        if pages == "token":
            yield self._argument(operation, PAGE_TOKEN, "start", "str | None", "None")

    def _path_argument(self, operation: DocumentOperation, parameter: Parameter) -> Argument:
        kind = self._type(operation, parameter.name, parameter.schema)
        if self._public(operation, parameter.name) == "slug":
            kind = "Slug"
        elif self._public(operation, parameter.name) == "org":
            kind = "UUID | str"
        return self._argument(operation, parameter.name, "path", kind, None)

    def _query_argument(self, operation: DocumentOperation, parameter: Parameter) -> Argument:
        kind = self._type(operation, parameter.name, parameter.schema)
        default = self._tables.correction("parameter", "default", f"{operation.id}.{parameter.name}", parameter.name)
        if default is None and not parameter.required:
            kind, default = f"{kind} | None", "None"
        place = "start" if parameter.name == "offset" else "query"
        return self._argument(operation, parameter.name, place, kind, default, schema=parameter.schema)

    def _body_arguments(self, operation: DocumentOperation) -> Iterator[Argument]:
        if operation.body is not None:
            body = self._document.flat(operation.body)
            for key, schema in body.get("properties", {}).items():
                is_required = key in body.get("required", ())
                prefix = self._tables.correction("flatten", "prefix", f"{operation.id}.{key}")
                if prefix is None:
                    yield self._body_argument(operation, key, schema, is_required=is_required)
                else:
                    yield from self._flattened(operation, key, schema, prefix)

    def _flattened(self, operation: DocumentOperation, outer: str, schema: Schema, prefix: str) -> Iterator[Argument]:
        flat = self._document.flat(schema)
        for key, inner in flat["properties"].items():
            argument = self._body_argument(
                operation, f"{prefix}{key}", inner, is_required=key in flat.get("required", ())
            )
            yield evolve(argument, sent_as=(f"{outer}.{key}",))

    def _body_argument(self, operation: DocumentOperation, key: str, schema: Schema, *, is_required: bool) -> Argument:
        schema = self._document.flat(schema)
        kind = self._type(operation, key, schema, place=f"{operation.id}:body.{key}")
        if kind in self._shapes.classes:
            kind = f"{kind} | Mapping[str, Any]"
        default = self._tables.correction("parameter", "default", f"{operation.id}.{key}")
        if default is None and not is_required:
            kind, default = f"{kind} | Unset", "UNSET"
        if is_nullable(schema):
            kind = f"{kind} | None"
        argument = self._argument(operation, key, "body", kind, default, schema=schema)
        if self._tables.correction("both_spellings", "", f"{operation.id}.{key}"):
            return evolve(argument, sent_as=(key, key.replace("-", "_")))
        return argument

    def _type(self, operation: DocumentOperation, name: str, schema: Schema, place: str | None = None) -> str:
        corrected: str | None = self._tables.correction("parameter", "type", f"{operation.id}.{name}", name)
        if corrected is not None:
            return corrected
        kind = self._shapes.type_of(schema, place or f"{operation.id}:{name}", is_sent=True)
        return re.sub(r"\bUUID\b", "UUID | str", kind)

    def _argument(
        self,
        operation: DocumentOperation,
        wire: str,
        place: str,
        kind: str,
        default: str | None,
        *,
        schema: Schema | None = None,
    ) -> Argument:
        name = self._public(operation, wire)
        doc: str | None = self._tables.word("parameters", f"{operation.id}.{name}", name)
        if doc is None:
            raise GeneratorError(f"no words in names.toml for the parameter {name} of {operation.id}")
        words = self._document.resolve(schema or {}).get("enum", ())
        if words and default not in {f'"{word}"' for word in words if len(words) == 1}:
            doc = f"{doc[:-1]}: {choice(words)}."
        return Argument(name=name, wire=wire, place=place, type=kind, default=default, doc=doc, sent_as=(wire,))


def choice(words: Any) -> str:
    """Return words of an enumeration as a phrase."""
    *most, last = (f"``{word}``" for word in words)
    return f"{', '.join(most)} or {last}" if most else last


def words_of(identifier: str) -> str:
    """Return the words of a camel-case name: ``createOtelExporter`` is ``create otel exporter``."""
    return " ".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", identifier)).lower()
