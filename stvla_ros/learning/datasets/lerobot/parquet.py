"""Reads parquet tables within limits.

A table of 477 bytes can hold 100 GB: one long text, to which every row refers. The headers of pages give their sizes in
bytes and in values, so these are read first. Rows are then taken a few at a time, as many as are sure to fit.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from stvla_ros.errors import InputError
from stvla_ros.safe_files import check_limit, check_regular

_MOST_ROWS = 65_536
# Bytes that may be in memory beside the rows that were already taken.
_AT_ONCE = 64 << 20
# Largest size of a page's header: longer ones hold statistics of long texts.
_HEADER_BYTES = 1 << 16


def open_table(path: Path) -> pq.ParquetFile:
    """:raises InputError: for anything but a file, or more rows than any table has. For a damaged table Arrow raises
    its own error.
    """
    check_regular(path)
    # Plain reads: a data loader's worker is a fork, and a fork lacks the threads of Arrow's pool.
    table = pq.ParquetFile(path, pre_buffer=False)
    check_limit("table_rows", table.metadata.num_rows, str(path), "rows")
    if len(set(table.schema_arrow.names)) != len(table.schema_arrow.names):
        raise InputError(f"{path}: expected each column once")
    return table


def read_rows_of(path: Path, table: pq.ParquetFile, groups: Iterable[int], columns: Sequence[str]) -> pa.Table:
    """Read some columns of some row groups.

    :param table: table from :func:`open_table`, for the same file.
    :raises InputError: when they have more bytes than an episode may have.
    """
    groups = list(groups)
    largest = _largest_value(path, table.metadata, groups, columns)
    rows = max(1, min(_MOST_ROWS, _AT_ONCE // max(1, largest)))
    batches, size = [], 0
    for batch in table.iter_batches(rows, row_groups=groups, columns=list(columns), use_threads=False):
        size += batch.nbytes
        check_limit("episode_bytes", size, str(path), "bytes of rows")
        batches.append(batch)
    schema = pa.schema([table.schema_arrow.field(name) for name in columns])
    # An empty table's columns come in the order of the file, as in any batch.
    return pa.Table.from_batches(batches, batches[0].schema if batches else schema)


def _largest_value(path: Path, metadata: pq.FileMetaData, groups: list[int], columns: Sequence[str]) -> int:
    """The largest size of one row, bytes: no value is longer than the pages that it is in."""
    largest = 0
    with path.open("rb") as stream:
        for number in groups:
            group = metadata.row_group(number)
            row = 0
            for place in range(group.num_columns):
                column = group.column(place)
                if column.path_in_schema.split(".")[0] in columns:
                    row += _check_pages(path, stream, column)
            largest = max(largest, row)
    return largest


def _check_pages(path: Path, stream: BinaryIO, column: pq.ColumnChunkMetaData) -> int:
    """:returns: size in bytes of the largest page of a column in a row group."""
    where = f"{path}, column {column.path_in_schema}"
    begin = column.data_page_offset
    if column.has_dictionary_page and 0 < (column.dictionary_page_offset or 0) < begin:
        begin = column.dictionary_page_offset
    end = begin + column.total_compressed_size
    check_limit("table_rows", column.num_values, where, "values in a row group")
    largest = values = 0
    while begin < end:
        stream.seek(begin)
        size, packed, count, header = _page_header(stream.read(min(_HEADER_BYTES, end - begin)), where)
        largest, values = max(largest, size), values + count
        check_limit("chunk_bytes", size, where, "bytes in a page")
        check_limit("table_rows", values, where, "values in a row group")
        begin += header + packed
    return largest


# --- a page's header --------------------------------------------------------------------------------------------------

# Thrift's compact protocol, as the Parquet format uses it for its headers (parquet.thrift). In a PageHeader, field 2 is
# the unpacked size, field 3 the size in the file, and fields 5, 7 and 8 describe the page; field 1 of each of these is
# the number of values.
_UNPACKED, _PACKED, _DESCRIBED, _VALUES = 2, 3, (5, 7, 8), 1
_I16, _I32, _I64, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 4, 5, 6, 3, 7, 8, 9, 10, 12


def _page_header(data: bytes, where: str) -> tuple[int, int, int, int]:
    """Unpacked size, size in the file, number of values, and the header's own size; all in bytes except the third."""
    reader = _Compact(data)
    try:
        found: dict[int, Any] = reader.struct()
        described: dict[int, int] = next(
            (found[number] for number in _DESCRIBED if isinstance(found.get(number), dict)), {}
        )
        numbers = (found[_UNPACKED], found[_PACKED], described.get(_VALUES, 0))
    except (IndexError, KeyError, RecursionError, ValueError):
        numbers = (-1, -1, -1)
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise InputError(f"{where}: expected the header of a page, got something else")
    unpacked, packed, values = numbers
    return unpacked, packed, values, reader.place


class _Compact:
    """The part of Thrift's compact protocol that is needed: structs of numbers; everything else is skipped."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def struct(self) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            kind, step = head & 15, head >> 4
            number = number + step if step else self._signed()
            fields[number] = self._value(kind)
        return fields

    def _value(self, kind: int) -> Any:
        if kind in (_I16, _I32, _I64):
            return self._signed()
        if kind == _STRUCT:
            return self.struct()
        if kind in (_LIST, _SET):
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._unsigned()
            for _ in range(min(count, len(self._data))):
                self._value(head & 15 if head & 15 not in (1, 2) else _BYTE)
            return None
        if kind in (_BYTE, _DOUBLE, _BINARY):
            length = {_BYTE: 1, _DOUBLE: 8}.get(kind) or self._unsigned()
            self.place += length
            return None
        if kind in (1, 2):  # a boolean's value is its type
            return None
        raise ValueError(kind)

    def _byte(self) -> int:
        self.place += 1
        return self._data[self.place - 1]

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if not byte & 128:
                return value
            if shift > 70:
                raise ValueError(value)

    def _signed(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)
