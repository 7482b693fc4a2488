"""Objects of the document as classes: equal shapes are one class, and so are shapes that the tables give one name.

Every field of a class but its identity has a default, so a class may have fields that only some answers have. Classes
get their names from the table; a shape that has none, and equals none that has, is an error: a generated name such as
``Items1`` would be public, and change with the next document.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import define, evolve, field, frozen

from scripts.generator.document import Document, DocumentOperation, Schema, is_nullable
from scripts.generator.tables import GeneratorError, Tables

SCALARS: Mapping[tuple[str | None, str | None], str] = {
    ("string", "uuid"): "UUID",
    ("string", "date-time"): "datetime",
    ("string", None): "str",
    ("integer", None): "int",
    ("number", None): "float",
    ("boolean", None): "bool",
}
FIRST = ("id", "slug", "name", "number", "job_number", "type", "status", "state")
CLASS_NAME = re.compile(r"[A-Z][A-Za-z]*")


@frozen
class Field:
    """A field of a class. ``words`` are the documented values of an open enumeration."""

    name: str
    wire: str
    type: str
    required: bool
    words: tuple[str, ...] = ()
    default: str | None = None


@define
class Class:
    """A model class."""

    name: str
    doc: str
    module: str
    notes: Mapping[str, str]
    fields: dict[str, Field] = field(factory=dict)
    is_sent: bool = False

    def in_order(self) -> list[Field]:
        """Return the fields: what identifies first, times last, else as in the document."""
        return sorted(self.fields.values(), key=_rank)


def _rank(item: Field) -> tuple[bool, int, str]:
    is_time = item.type == "datetime"
    first = FIRST.index(item.name) if item.name in FIRST else len(FIRST)
    return not item.required, first + is_time, item.name if is_time else ""


class Shapes:
    """Collects the classes of a document."""

    def __init__(self, document: Document, tables: Tables, module_of: Mapping[str, str]) -> None:
        self._document = document
        self._tables = tables
        self._module_of = module_of
        self._order = list(tables.names["classes"])
        self._name_at = {place: name for name, entry in tables.names["classes"].items() for place in entry["at"]}
        self._name_of: dict[frozenset[tuple[str, str]], str] = {}
        self._missing: list[str] = []
        self._is_complete = False
        self.classes: dict[str, Class] = {}

    def collect(self, operations: Iterable[DocumentOperation]) -> None:
        """Find all classes: again and again, until a shape met early is known by the name it was given late.

        Raises:
            GeneratorError: A shape has no name, or one that cannot be.
        """
        operations = list(operations)
        known: dict[Any, str] | None = None
        while known != self._name_of:
            known = dict(self._name_of)
            self.classes, self._missing = {}, []
            for operation in operations:
                self._visit(operation)
        if self._missing:
            raise GeneratorError("no class in names.toml for: " + ", ".join(dict.fromkeys(self._missing)))
        self._correct()
        self._is_complete = True

    def _visit(self, operation: DocumentOperation) -> None:
        for place, schema in self.answers_of(operation).values():
            if schema is not None:
                self.type_of(schema, place)
        if operation.body is not None:
            for key, schema in self._document.flat(operation.body).get("properties", {}).items():
                if self._tables.correction("flatten", "prefix", f"{operation.id}.{key}") is None:
                    self.type_of(schema, f"{operation.id}:body.{key}", is_sent=True)

    def answers_of(self, operation: DocumentOperation) -> dict[int, tuple[str, Schema | None]]:
        """Return by status where an answer is in the table, and its schema: of a listing, that of its items."""
        schemas = {status: self._item_of(schema) for status, schema in operation.answers.items()}
        one = len({str(schema) for schema in schemas.values()}) == 1
        return {
            status: (operation.id if one else f"{operation.id}@{status}", schema) for status, schema in schemas.items()
        }

    def _item_of(self, schema: Schema | None) -> Schema | None:
        if schema is None:
            return None
        if self.kind_of_pages(schema):
            schema = schema.get("properties", {}).get("items", schema)
            return self._document.flat(self._document.resolve(schema)["items"])
        return self._document.flat(schema)

    def kind_of_pages(self, schema: Schema | None) -> str | None:
        """Tell how a listing goes on by its answer; ``None`` when it is no listing."""
        if schema is None:
            return None
        properties = schema.get("properties", {})
        if self._document.resolve(properties.get("items", {})).get("type") == "array":
            return "token" if "next_page_token" in properties else "items"
        return "array" if schema.get("type") == "array" else None

    def type_of(self, schema: Schema, place: str, *, is_sent: bool = False) -> str:
        """Return the Python type of a schema that stands at a place."""
        schema = self._document.flat(schema)
        if "anyOf" in schema or "oneOf" in schema:
            return self._union(schema.get("anyOf", schema.get("oneOf", ())), place, is_sent=is_sent)
        kind = schema.get("type")
        if kind == "array":
            return f"Sequence[{self.type_of(schema['items'], place, is_sent=is_sent)}]"
        if schema.get("properties"):
            return self._class_of(schema, place, is_sent=is_sent)
        if kind == "object":
            inner = schema.get("additionalProperties")
            return f"Mapping[str, {self.type_of(inner, place, is_sent=is_sent) if isinstance(inner, dict) else 'Any'}]"
        return SCALARS.get((kind, schema.get("format")), SCALARS.get((kind, None), "Any"))

    def _union(self, variants: Iterable[Schema], place: str, *, is_sent: bool) -> str:
        if not is_sent:
            return "Any"  # what an answer may be is open
        types = sorted({self.type_of(each, place, is_sent=is_sent) for each in variants})
        return "Any" if "Any" in types else " | ".join(types)

    def _class_of(self, schema: Schema, place: str, *, is_sent: bool) -> str:
        required = set(schema.get("required", ()))
        fields = {
            key.replace("-", "_"): Field(
                name=key.replace("-", "_"),
                wire=key,
                type=self.type_of(value, f"{place}.{key}", is_sent=is_sent),
                required=key == "id" and key in required and not is_nullable(self._document.resolve(value)),
                words=self._words_of(value),
            )
            for key, value in schema["properties"].items()
        }
        shape = frozenset((item.name, item.type) for item in fields.values())
        if place in self._name_at:
            self._name_of[shape] = min(
                self._name_of.get(shape, self._name_at[place]), self._name_at[place], key=self._order.index
            )
        name = self._name_at.get(place) or self._name_of.get(shape)
        if name is None:
            self._missing.append(place)
            return "Any"
        if not self._is_complete:
            self._merge(name, fields, is_sent=is_sent)
        return name

    def _words_of(self, schema: Schema) -> tuple[str, ...]:
        schema = self._document.resolve(schema)
        inner = self._document.resolve(schema["items"]) if schema.get("type") == "array" else schema
        return tuple(map(str, inner.get("enum", ())))

    def _merge(self, name: str, fields: Mapping[str, Field], *, is_sent: bool) -> None:
        if name not in self.classes:
            self.classes[name] = self._new(name)
            self.classes[name].fields.update(fields)
        merged = self.classes[name]
        merged.is_sent |= is_sent
        for item in {**merged.fields, **fields}.values():
            old, new = merged.fields.get(item.name), fields.get(item.name)
            if old is None or new is None:
                merged.fields[item.name] = evolve(item, required=False)
                continue
            if old.type != new.type:
                raise GeneratorError(f"{name}.{item.name} is {old.type} here and {new.type} there")
            words = tuple(dict.fromkeys(old.words + new.words))
            wire = new.wire if is_sent else old.wire
            merged.fields[item.name] = evolve(
                old, required=old.required and (new.required or is_sent), words=words, wire=wire
            )

    def _new(self, name: str) -> Class:
        entry = self._tables.word("classes", name)
        if not CLASS_NAME.fullmatch(name):
            raise GeneratorError(f"{name} is no name for a class: say what it is instead of counting")
        home = re.split(r"[.:@]", entry["at"][0])[0]
        if home not in self._module_of:
            raise GeneratorError(f"{name} is at {home}, which is no operation")
        return Class(name, entry["doc"], entry.get("module", self._module_of[home]), entry.get("notes", {}))

    def _correct(self) -> None:
        for place, kind in self._tables.places("field", "add"):
            owner, _, name = place.partition(".")
            self._tables.used.add(("field", place))
            self.classes[owner].fields[name] = Field(name=name, wire=name, type=kind, required=False)
        for owned in self.classes.values():
            for item in owned.fields.values():
                owned.fields[item.name] = self._corrected(f"{owned.name}.{item.name}", item)
            for name in owned.notes:
                if name not in owned.fields:
                    raise GeneratorError(f"{owned.name} has a note on {name}, which is no field of it")

    def _corrected(self, place: str, item: Field) -> Field:
        changes = {key: self._tables.correction("field", key, place) for key in ("type", "required", "default")}
        words = self._tables.correction("words", "order", place) or item.words
        more = self._tables.correction("words", "add", place) or ()
        if set(words) != set(item.words):
            raise GeneratorError(f"{place} has other words than those that corrections.toml puts in order")
        given = {key: value for key, value in changes.items() if value is not None}
        return evolve(item, words=(*words, *more), **given)


def names_in(text: str) -> Iterator[str]:
    """Yield the names that a type has in it."""
    yield from re.findall(r"[A-Za-z_]+", text)
