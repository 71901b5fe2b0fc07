"""A table as a stream of records that keep their own bytes.

The records pass through unchanged: what was read is what is written, quotes, line ends, byte order mark and invalid
UTF-8 included; only new columns are appended. Memory does not grow with the file.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dc_graphsam.data.structure_files import refuse_structures
from dc_graphsam.exceptions import DCGraphSAMError, MissingDataError

__all__ = ["CsvRecord", "CsvStream"]

_BOM = "\ufeff"
_DELIMITERS = ",\t;"
_MAX_FIELD = 10_000_000  # characters; a longer cell is an opening quote that was never closed
_MAX_HEADER = 1_000_000


@dataclass(frozen=True)
class CsvRecord:
    """One record of a table.

    Attributes
    ----------
    raw
        The text as it stands in the file, line end included; may span lines.
    fields
        The cells; empty for a blank line.
    """

    raw: str
    fields: tuple[str, ...]


class _Lines:
    """Hands physical lines to a CSV reader and remembers those of the record in hand."""

    def __init__(self, stream: io.TextIOBase) -> None:
        self.stream = stream
        self.pending: list[str] = []
        self._peeked: list[str] = []

    def peek_text(self) -> str:
        """The first line that is not blank, without consuming it."""
        while line := self.stream.readline():
            self._peeked.append(line)
            if line.removeprefix(_BOM).strip("\r\n"):
                return line
        return ""

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._peeked.pop(0) if self._peeked else self.stream.readline()
        if not line:
            raise StopIteration
        self.pending.append(line)
        return line

    def take(self) -> str:
        raw = "".join(self.pending)
        self.pending.clear()
        return raw


class CsvStream:
    """Read a delimited text file, plain or gzip-compressed, record by record.

    Commas, tabs and semicolons are told apart by the header.

    Parameters
    ----------
    path
        The file. Its first record that is not blank is the header.

    Attributes
    ----------
    columns
        Names in the header.
    head
        Text of the file up to and including the header, without its line end.
    newline
        Line end of the header: ``"\\n"``, ``"\\r\\n"`` or ``"\\r"``.
    delimiter
        ``","``, ``";"`` or a tab.

    Raises
    ------
    MissingDataError
        No such file, or no header in it.
    DCGraphSAMError
        The file cannot be read as a table.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "in.csv"
    >>> _ = path.write_bytes(b'id,smiles\\r\\n1,"C,O"\\r\\n')
    >>> with CsvStream(path) as table:
    ...     table.columns, [(r.raw, r.fields) for r in table]
    (('id', 'smiles'), [('1,"C,O"\\r\\n', ('1', 'C,O'))])
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        refuse_structures(self.path)
        self.name = str(path)
        self._stream = io.TextIOWrapper(
            self._open(),
            encoding="utf-8",
            errors="surrogateescape",  # bytes that are not UTF-8 survive the way in and out
            newline="",
        )
        self._lines = _Lines(self._stream)
        try:
            with self._translated():
                header = self._lines.peek_text()
            self.delimiter = max(_DELIMITERS, key=lambda mark: (_count_unquoted(header, mark), mark == ","))
            self._reader = csv.reader(self._lines, delimiter=self.delimiter)
            self._read_header()
        except DCGraphSAMError:
            self.close()
            raise

    def _open(self):
        if self.path.is_dir():
            raise MissingDataError(f"{self.name} is a folder; a CSV file was expected")
        try:
            with self.path.open("rb") as file:
                magic = file.read(2)
        except FileNotFoundError:
            raise MissingDataError(f"there is no file {self.name}") from None
        if magic in (b"\xff\xfe", b"\xfe\xff"):
            raise DCGraphSAMError(f"{self.name} is UTF-16; save it as UTF-8")
        return gzip.open(self.path, "rb") if magic == b"\x1f\x8b" else self.path.open("rb")

    def _read_header(self) -> None:
        raw, fields = "", []
        while not fields:
            more, fields = self._read()
            if not more:
                raise MissingDataError(f"{self.name} is empty; its first line should name the columns")
            raw += more
        if len(raw) > _MAX_HEADER:
            raise DCGraphSAMError(f"{self.name}: its header is longer than {_MAX_HEADER:,} characters (an open quote?)")
        self.newline = line_end(raw) or "\n"
        self.head = raw.removesuffix(self.newline)
        if fields[0].startswith(_BOM):
            # With the mark before it, the opening quote of the first name was not seen as one.
            fields = self._parse(raw.lstrip("\r\n").removeprefix(_BOM))
        self.columns = tuple(fields)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        previous = csv.field_size_limit(_MAX_FIELD)
        try:
            yield
        except csv.Error as error:
            reason = str(error)
            if "field larger" in reason:
                reason = f"a cell is longer than {_MAX_FIELD:,} characters (an opening quote without its end?)"
            raise DCGraphSAMError(f"{self.name} cannot be read at line {self._reader.line_num:,}: {reason}") from None
        except (EOFError, gzip.BadGzipFile) as error:
            raise DCGraphSAMError(f"{self.name} is not a whole gzip file: {error}") from None
        finally:
            csv.field_size_limit(previous)

    def _read(self) -> tuple[str, list[str]]:
        with self._translated():
            fields = next(self._reader, [])
        return self._lines.take(), fields

    def _parse(self, text: str) -> list[str]:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter))

    def __iter__(self) -> Iterator[CsvRecord]:
        while True:
            raw, fields = self._read()
            if not raw:
                return
            yield CsvRecord(raw, tuple(fields))

    def append(self, record: CsvRecord, cells: Sequence[str]) -> str:
        """The record's own text with cells added, as a line of the output.

        A record shorter than the header gets the empty cells it lacks; of a longer one, the surplus goes into its last
        column, so that the added cells stand in theirs. A blank line stays one.

        Parameters
        ----------
        record
            One of this table.
        cells
            Values of the added columns.
        """
        if not record.fields:
            return record.raw
        end = line_end(record.raw)
        body = record.raw.removesuffix(end)
        width, count = len(self.columns), len(record.fields)
        if count > width:
            surplus = record.fields[width - 1 :] if any(record.fields[width:]) else record.fields[width - 1 : width]
            body = self._cells([*record.fields[: width - 1], self.delimiter.join(surplus)])
        else:
            body += self.delimiter * (width - count)
            if '"' in body and len(self._parse(f"{body}{self.delimiter}")) != width + 1:
                # A quote that the file never closes would swallow what is added: the record is written anew.
                body = self._cells([*record.fields, *[""] * (width - count)])
        return f"{body}{self.delimiter}{self._cells(cells)}{end or self.newline}"

    def append_to_header(self, names: Sequence[str]) -> str:
        """The header's own text with columns added."""
        return f"{self.head}{self.delimiter}{self._cells(names)}{self.newline}"

    def _cells(self, cells: Sequence[str]) -> str:
        buffer = io.StringIO()
        csv.writer(buffer, delimiter=self.delimiter, lineterminator="").writerow(cells)
        return buffer.getvalue()

    def estimate_rows(self) -> int:
        """Line ends below the header; reads the file once more."""
        total = 0
        with self._open() as binary:
            while block := binary.read(1 << 20):
                total += block.count(b"\n") or block.count(b"\r")
        return max(total - 1, 0)

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> CsvStream:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def line_end(raw: str) -> str:
    """The line end that ``raw`` has, or an empty string.

    >>> line_end("a,b\\r\\n"), line_end("a,b")
    ('\\r\\n', '')
    """
    return next((end for end in ("\r\n", "\n", "\r") if raw.endswith(end)), "")


def _count_unquoted(line: str, mark: str) -> int:
    return sum(part.count(mark) for part in line.split('"')[::2])
