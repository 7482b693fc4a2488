"""Rows as Arrow has them: a table's schema, and record batches with its rows.

Times are ``timestamp[us, UTC]``, lists are lists of their kind, of rows lists of structs; a mapping of anything is JSON
in a string. A field's metadata says its ``unit`` where it has one, and ``content: json``; the schema's has the table's
``key`` and a ``description``.

Conversion goes column by column, and takes for granted that values are as the row class says. Only where Arrow refuses
a column its values are looked at one by one: for halves of surrogate pairs, and numbers of more than 64 bits.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, Final

from aiocircle.errors import StoreError
from aiocircle.export.tables import Column, Kind, Table, in_utc
from aiocircle.export.texts import json_text, paired
from aiocircle.extras import load_extra

_UNITS: Final = {"seconds": "seconds", "credits": "CircleCI credits", "rate": "1"}
_Row = tuple[Any, ...]


class ArrowRows:
    """Makes record batches of a table's rows.

    Args:
        table: The table.
        without: Columns that are left out.

    Raises:
        ConfigurationError: The package pyarrow is not installed.
    """

    def __init__(self, table: Table, *, without: frozenset[str] = frozenset()) -> None:
        self.table = table
        self._pa = load_extra("pyarrow", what="Arrow", extra="parquet")
        self._columns = [(place, column) for place, column in enumerate(table.columns) if column.name not in without]

    @cached_property
    def schema(self) -> Any:
        """The ``pyarrow.Schema``."""
        about = {"description": self.table.row.__doc__ or "", "key": ",".join(self.table.key)}
        return self._pa.schema([self._field(column) for _, column in self._columns], metadata=about)

    def batch(self, rows: Sequence[_Row]) -> Any:
        """Return rows as a ``pyarrow.RecordBatch``.

        Raises:
            StoreError: A value does not fit into its column, which may not be without one.
        """
        values: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(self.table.columns)
        arrays = [self._array(column, values[place]) for place, column in self._columns]
        return self._pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _field(self, column: Column) -> Any:
        about = {"content": "json"} if column.kind == "json" else {}
        for word, unit in _UNITS.items():
            if word in column.name.split("_") and column.kind in {"integer", "real"} and "trend" not in column.name:
                about["unit"] = unit
        return self._pa.field(column.name, self._type(column), nullable=column.optional, metadata=about or None)

    def _type(self, column: Column) -> Any:
        pa = self._pa
        if isinstance(column.items, tuple):
            return pa.list_(pa.struct([self._field(item) for item in column.items]))
        if column.items is not None:
            return pa.list_(self._type(column.items))
        if column.kind == "time":
            return pa.timestamp("us", tz="UTC")
        return {"integer": pa.int64, "real": pa.float64, "boolean": pa.bool_}.get(column.kind, pa.string)()

    def _array(self, column: Column, values: Sequence[Any]) -> Any:
        if isinstance(column.items, tuple):
            return self._structs(column, values)
        if column.kind == "json":
            values = [None if value is None else json_text(value) for value in values]
        of_type = self._type(column)
        try:
            array = self._pa.array(values, of_type)
        except (self._pa.ArrowException, UnicodeError, OverflowError, TypeError, ValueError):
            array = self._mended(column, values, of_type)
        if array.null_count and not column.optional:
            raise StoreError(
                f"{self.table.name}.{column.name}: a row has no value, or one that does not fit", fatal=True
            )
        return array

    def _mended(self, column: Column, values: Sequence[Any], of_type: Any) -> Any:
        mend = _MENDS[column.kind]
        if isinstance(column.items, Column):
            mend = _each(_MENDS[column.items.kind])
        try:
            return self._pa.array(_each(mend)(values), of_type)
        except (self._pa.ArrowException, UnicodeError, OverflowError, TypeError, ValueError):
            raise StoreError(f"{self.table.name}.{column.name}: a value is not of its kind", fatal=True) from None

    def _structs(self, column: Column, values: Sequence[Any]) -> Any:
        """Return a column of lists of rows; their values lie in columns as well, one after another."""
        assert isinstance(column.items, tuple)
        ends: list[int | None] = []
        count = 0
        for value in values:
            ends.append(None if value is None else count)
            count += 0 if value is None else len(value)
        ends.append(count)
        of_type = self._type(column)
        flat = list(zip(*chain.from_iterable(value for value in values if value), strict=True))
        children = [self._array(item, flat[place] if flat else ()) for place, item in enumerate(column.items)]
        structs = self._pa.StructArray.from_arrays(children, fields=list(of_type.value_type))
        return self._pa.ListArray.from_arrays(self._pa.array(ends, self._pa.int32()), structs, type=of_type)


def _each(change: Callable[[Any], Any]) -> Callable[[Sequence[Any]], list[Any]]:
    return lambda values: [None if value is None else change(value) for value in values]


def _same(value: Any) -> Any:
    return value


def _whole(value: Any) -> int | None:
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return number if -(2**63) <= number < 2**63 else None


_MENDS: Final[dict[Kind, Callable[[Any], Any]]] = {
    "text": lambda value: paired(str(value)),
    "json": paired,
    "integer": _whole,
    "real": float,
    "boolean": bool,
    "time": in_utc,
    "list": _same,
}
