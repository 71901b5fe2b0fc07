"""A table as a stream of records that keep their own bytes.

The records pass through unchanged: what was read is what is written, quotes, line ends, byte order mark and invalid
UTF-8 included; only new columns are appended. Memory does not grow with the file.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dc_graphsam.data.structure_files import refuse_structures
from dc_graphsam.data.tables import SMILES_COLUMNS
from dc_graphsam.data.text_format import SAMPLE, Records, check_text, encoding_of, format_of, line_end
from dc_graphsam.exceptions import DCGraphSAMError, MissingDataError

__all__ = ["CsvRecord", "CsvStream"]

_MAX_FIELD = 10_000_000  # characters; a longer cell is an opening quote that was never closed
_MAX_HEADER = 1_000_000


_WITH_COMMA, _WITH_POINT = re.compile(r"[+-]?\d+,\d+"), re.compile(r"[+-]?\d+\.\d+")


@dataclass(frozen=True)
class CsvRecord:
    """One record of a table.

    Attributes
    ----------
    raw
        The text as it stands in the file, line end included; may span lines.
    fields
        The cells; empty for a blank line or a comment.
    """

    raw: str
    fields: tuple[str, ...]


class CsvStream:
    """Read a delimited text file, plain or gzip-compressed, record by record.

    How it is laid out (delimiter, encoding, comments, whether there is a header) is told by the rules of training,
    :mod:`dc_graphsam.data.text_format`. The output has the encoding and the delimiter of the input; where blanks divide
    the columns of the input, tabs divide those of the output. A header is written above a table that has none:
    ``smiles``, ``column_2``, ….

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    columns
        Names in the header, or those given to the columns of a table without.
    head
        Text of the file up to and including the header, without its line end.
    newline
        Line end of the header: ``"\\n"``, ``"\\r\\n"`` or ``"\\r"``.
    delimiter
        Of the output: ``","``, ``";"``, ``"|"``, a tab, or what the file's first line ``sep=`` says.
    encoding, errors
        As of :func:`open`, for the output.
    decimal_comma
        Whether numbers are written with a comma: where one divides no cells, cells of the first rows have it in numbers, and
        none has a point.

    Raises
    ------
    MissingDataError
        No such file, or nothing in it.
    DCGraphSAMError
        The file cannot be read as a table; an :class:`~dc_graphsam.exceptions.InvalidArgumentError` if it is no text.

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
        with self._translated():
            with self._open() as binary:
                sample = binary.read(SAMPLE)
                whole = len(sample) < SAMPLE
            check_text(sample, self.name)
            self.encoding = encoding_of(sample)
            # bytes that are not UTF-8, and halves of UTF-16 pairs, survive the way in and out
            self.errors = "surrogateescape" if self.encoding == "utf-8" else "surrogatepass"
            text = sample.decode(self.encoding, "replace")
            self.layout = format_of(text, self.path.name, SMILES_COLUMNS, whole)
        self.delimiter = self.layout.delimiter
        self.decimal_comma = self.delimiter != "," and _has_decimal_commas(text, self.delimiter)
        if self.layout.divided_by_blanks:
            self.delimiter = "\t" if self.layout.width > 1 else ","
        self._stream = io.TextIOWrapper(self._open(), encoding=self.encoding, errors=self.errors, newline="")
        try:
            with self._translated():
                self._records = Records(self._stream, self.layout)
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
        return gzip.open(self.path, "rb") if magic == b"\x1f\x8b" else self.path.open("rb")

    def _read_header(self) -> None:
        raw = self._records.mark
        if self.layout.columns is not None:
            for _ in range(self.layout.preamble):
                raw += self._read()[0]
            self.newline = self.layout.newline
            self.columns = self.layout.columns
            self.head = raw + self._cells(self.columns)
            return
        fields: list[str] = []
        while not fields:
            more, fields = self._read()
            if not more:
                raise MissingDataError(f"{self.name} is empty; its first line should name the columns")
            raw += more
        if len(raw) > _MAX_HEADER:
            raise DCGraphSAMError(f"{self.name}: its header is longer than {_MAX_HEADER:,} characters (an open quote?)")
        self.newline = line_end(raw) or "\n"
        self.columns = tuple(fields)
        above = raw.removesuffix(more)
        self.head = above + (self._cells(fields) if self.layout.divided_by_blanks else more.removesuffix(self.newline))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        previous = csv.field_size_limit(_MAX_FIELD)
        try:
            yield
        except csv.Error as error:
            reason = str(error)
            if "field larger" in reason:
                reason = f"a cell is longer than {_MAX_FIELD:,} characters (an opening quote without its end?)"
            number = self._records.line_number
            raise DCGraphSAMError(f"{self.name} cannot be read at line {number:,}: {reason}") from None
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DCGraphSAMError(f"{self.name} is not a whole gzip file: {error}") from None
        except UnicodeDecodeError as error:
            raise DCGraphSAMError(f"{self.name} is not whole {error.encoding} text: {error.reason}") from None
        finally:
            csv.field_size_limit(previous)

    def _read(self) -> tuple[str, list[str]]:
        with self._translated():
            return self._records.read()

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
        column, so that the added cells stand in theirs. A blank line or a comment stays what it is.

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
        if self.layout.divided_by_blanks:
            body = self._cells(record.fields)
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
        return max(total - self.layout.preamble - (self.layout.columns is None), 0)

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> CsvStream:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _has_decimal_commas(text: str, delimiter: str) -> bool:
    cells = [cell.strip(' "') for line in text.splitlines() for cell in line.split(delimiter)]
    return any(map(_WITH_COMMA.fullmatch, cells)) and not any(map(_WITH_POINT.fullmatch, cells))
