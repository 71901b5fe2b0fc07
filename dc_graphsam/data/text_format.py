"""How a text table is laid out, told from its beginning; and its records, with the text they stand in.

One set of rules for training (:mod:`dc_graphsam.data.tables`) and for prediction (:mod:`dc_graphsam.predict.csv_stream`):

* encoding: UTF-8, UTF-16 and UTF-32, with a byte order mark, UTF-16 also without;
* columns divided by commas, tabs, semicolons, pipes, or blanks (``SMILES name``, as in ``.smi`` files); a first line
  ``sep=;``, which spreadsheets write, decides;
* lines above the header that begin with ``#`` are comments, and so are such lines among the rows where no row of the
  table can begin like this;
* a table has no header if its first line holds a SMILES where the rows below have theirs. Its columns are then called
  ``smiles`` (that with the SMILES), ``column_2``, ``column_3`` and so on.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from dc_graphsam.chem.trailing import continues, is_closed_smiles, looks_like_smiles
from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["BLANKS", "SAMPLE", "Records", "TextFormat", "check_text", "encoding_of", "format_of", "line_end"]

SAMPLE = 1 << 16  # bytes or characters from which a layout is told
BLANKS = " "  # the delimiter of columns that are divided by any number of blanks and tabs
_DELIMITERS = ",\t;|"
_ROWS = 50  # that are looked at
_BOM = "\ufeff"

# What begins like this is no text, and what it is called does not matter. Others have zero bytes, or control characters.
_MAGIC = (
    b"PK\x03\x04",  # zip: xlsx, docx, npz, jar
    b"PK\x05\x06",
    b"\xfd7zXZ\x00",
    b"\x28\xb5\x2f\xfd",  # zstd
    b"\x04\x22\x4d\x18",  # lz4
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
    b"\x1f\x8b",  # gzip; in gzip
    b"\x1f\x9d",  # compress
    b"SQLite format 3\x00",
    b"%PDF-",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",  # xls, doc
    b"\x89HDF\r\n\x1a\n",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",  # jpeg
    b"Obj\x01",  # avro
)
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)").match
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1a\x1b")) + b"\x7f"
_CONTROL_SHARE, _STRAY = 0.02, 3  # of the bytes of a text, at most; noise has a tenth
_MARKS = (  # longest first
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
    (b"\xef\xbb\xbf", "utf-8"),
)
_CXSMILES = re.compile(r"(?<=\S)[ \t]+\|(?=\S)[^|]*(?<=\S)\|(?=[\s,;]|$)")
_WORD = re.compile(r"\S+(?:[ \t]+\|(?=\S)[^|]*(?<=\S)\|(?=\s|$))?")
_SEP = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE).fullmatch
_SMI = (".smi", ".smiles", ".ism", ".can")


def encoding_of(sample: bytes) -> str:
    """Encoding of a text that begins like this.

    >>> encoding_of("smiles".encode("utf-16")), encoding_of("smiles".encode("utf-16-be")), encoding_of(b"smiles")
    ('utf-16-le', 'utf-16-be', 'utf-8')
    """
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    pairs = len(sample) // 2
    if pairs >= 2:
        high = [sample[1 : 2 * pairs : 2].count(0), sample[0 : 2 * pairs : 2].count(0)]
        for zeros, others, encoding in ((high[0], high[1], "utf-16-le"), (high[1], high[0], "utf-16-be")):
            if zeros > 0.8 * pairs and not others:
                return encoding
    return "utf-8"


def check_text(sample: bytes, source: str | Path) -> None:
    """Raise :class:`InvalidArgumentError` if a file that begins like this is no text.

    >>> check_text(b"%PDF-1.7", "my.csv")
    Traceback (most recent call last):
    dc_graphsam.exceptions.InvalidArgumentError: my.csv is not a text table; accepted: .csv, .tsv, .smi, each also .gz
    """
    encoding = encoding_of(sample)
    if encoding == "utf-8":
        size, zeros = len(sample), b"\0" in sample
        strange = size - len(sample.translate(None, _CONTROL))
    else:
        text = sample.decode(encoding, "replace")
        size, zeros = len(text), "\0" in text
        strange = sum(not (c.isprintable() or c.isspace() or c == _BOM) for c in text)
    noise = strange > max(_STRAY, _CONTROL_SHARE * size)
    if sample.startswith(_MAGIC) or _BZIP2(sample) or zeros or noise:
        raise InvalidArgumentError(f"{source} is not a text table; accepted: .csv, .tsv, .smi, each also .gz")


@dataclass(frozen=True)
class TextFormat:
    """Layout of a text table.

    Attributes
    ----------
    delimiter
        ``","``, a tab, ``";"``, ``"|"``, what a ``sep=`` line names, or ``" "`` (:data:`BLANKS`).
    preamble
        Lines above the header (or the first row): blank ones, comments, ``sep=;``.
    columns
        Names, if there is no header; else ``None``.
    width
        Columns of a table that is divided by blanks; 0 otherwise.
    commented
        Whether there are comments above the header.
    smiles_first
        Whether the first column has the SMILES.
    newline
        Of the first line.
    """

    delimiter: str = ","
    preamble: int = 0
    columns: tuple[str, ...] | None = None
    width: int = 0
    commented: bool = False
    smiles_first: bool = False
    newline: str = "\n"

    @property
    def divided_by_blanks(self) -> bool:
        return self.width > 0


def format_of(sample: str, name: str = "", known: Collection[str] = (), whole: bool = True) -> TextFormat:
    """Tell the layout of a text table from its beginning.

    Parameters
    ----------
    sample
        The beginning of the text.
    name
        Of the file. ``.smi`` and its like have no header unless one names a column of SMILES.
    known
        Usual names of such columns, in small letters.
    whole
        Whether the sample is all there is; else its last line is a piece.

    Examples
    --------
    >>> format_of("CCO,Z1\\nCCN,Z2\\n").columns
    ('smiles', 'column_2')
    >>> format_of("id|smiles\\n1|CCO\\n").delimiter
    '|'
    """
    lines = list(io.StringIO(sample.removeprefix(_BOM), newline=""))
    if not whole and len(lines) > 1:
        lines.pop()
    newline = (line_end(lines[0]) if lines else "") or "\n"
    is_smi = name.lower().removesuffix(".gz").endswith(_SMI)
    start, separator, commented = _preamble(lines, known)
    rows = [line.strip("\r\n") for line in lines[start:]]
    first = rows[0] if rows else ""
    below = [row for row in rows[1:] if row.strip() and not row.startswith("#")][:_ROWS]
    common = {"preamble": start, "commented": commented, "newline": newline}

    delimiter = separator or _commonest(first, below)
    cells = [cell.strip() for cell in _cells(first, delimiter)]
    named = _named(cells, known)
    if separator is None and delimiter not in first:  # "SMILES name" may be two columns divided by blanks
        words = _words(first.removeprefix("#"))
        place = next((i for i, word in enumerate(words) if word.lower() in known), None)
        if len(words) > 1 and place is not None and _smiles_at(place, below):
            return TextFormat(BLANKS, width=len(words), smiles_first=place == 0, **common)
    if named is not None or not rows:
        return TextFormat(delimiter, smiles_first=named == 0, **common)

    if separator is None:
        by_blanks = BLANKS if delimiter not in first else delimiter
        mark = _after_smiles(first) or by_blanks
        if mark == BLANKS:
            return _blanks_without_header(first, below, is_smi, common) or TextFormat(delimiter, **common)
        delimiter = mark
    table = [[cell.strip() for cell in _cells(row, delimiter)] for row in (first, *below)]
    place = _smiles_column(table)
    if place is None and is_smi:
        place = 0
    if place is None:
        return TextFormat(delimiter, **common)
    return TextFormat(delimiter, columns=_names(len(table[0]), place), smiles_first=place == 0, **common)


def _preamble(lines: list[str], known: Collection[str]) -> tuple[int, str | None, bool]:
    """Lines above the header, the separator they name, and whether there are comments among them."""
    separator, commented, start = None, False, 0
    while start < len(lines):
        line = lines[start].strip("\r\n")
        sep = _SEP(line) if separator is None and not commented else None
        if sep:
            separator = sep[1]
        elif line.startswith("#"):
            if _is_header(line, lines[start + 1 :], separator, known):
                break
            commented = True
        elif line.strip(" \ufeff"):
            break
        start += 1
    return start, separator, commented


def _is_header(line: str, below: list[str], separator: str | None, known: Collection[str]) -> bool:
    """Whether a line ``#smiles,y`` names the columns: it has such a name, and as many cells as the row below it."""
    row = next((text.strip("\r\n") for text in below if text.strip()), "")
    if row.startswith("#"):
        return False
    for delimiter in (separator or _commonest(line, [row]), BLANKS):
        cells = _words(line[1:]) if delimiter == BLANKS else _cells(line[1:], delimiter)
        others = _words(row) if delimiter == BLANKS else _cells(row, delimiter)
        names = [cell.strip().lower() for cell in cells]
        named = any(name in known or (delimiter != BLANKS and name.endswith("smiles")) for name in names)
        if named and (not row or len(cells) == len(others)):
            return True
    return False


def _commonest(line: str, below: list[str]) -> str:
    """The delimiter that the first line has most of; pipes, which occur in names, only if the rows have as many."""
    pipes = _count_unquoted(_CXSMILES.sub("", line), "|")
    agree = sum(_count_unquoted(_CXSMILES.sub("", row), "|") == pipes for row in below)
    marks = _DELIMITERS if pipes and 2 * agree >= len(below) else _DELIMITERS.replace("|", "")
    return max(marks, key=lambda mark: (_count_unquoted(line, mark), -marks.index(mark)))


def _count_unquoted(line: str, mark: str) -> int:
    return sum(part.count(mark) for part in line.split('"')[::2])


def _cells(line: str, delimiter: str) -> list[str]:
    if not line:
        return []
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return line.split(delimiter)


def _words(line: str) -> list[str]:
    return _WORD.findall(line)


def _named(cells: list[str], known: Collection[str]) -> int | None:
    """Place of the column that is called like one of SMILES."""
    names = [cell.lower() for cell in cells]
    exact = next((i for i, name in enumerate(names) if name in known), None)
    return exact if exact is not None else next((i for i, name in enumerate(names) if "smiles" in name), None)


def _is_smiles(cell: str) -> bool:
    words = _words(cell)
    return len(words) == 1 and is_closed_smiles(words[0].split()[0])


def _smiles_at(place: int, rows: list[str]) -> bool:
    table = [_words(row) for row in rows]
    found = sum(len(words) > max(place, 1) and _is_smiles(words[place]) for words in table)
    return bool(table) and 2 * found > len(table)


def _after_smiles(line: str) -> str | None:
    """What divides the SMILES that a line begins with from the rest."""
    match = re.match(r'[^\s,;|"]+', line)
    if not match or not looks_like_smiles(match[0]):
        return None
    rest = _CXSMILES.sub("", line)[match.end() :]
    if not rest.strip():
        return None
    return rest[0] if rest[0] in _DELIMITERS else BLANKS


def _smiles_column(table: list[list[str]]) -> int | None:
    """The first column that holds a SMILES in the first row and in most of the others."""
    for place, cell in enumerate(table[0]):
        others = [row[place] for row in table[1:] if place < len(row)]
        if _is_smiles(cell) and 2 * sum(map(_is_smiles, others)) >= len(others) and (others or len(table) == 1):
            return place
    return None


def _names(width: int, place: int) -> tuple[str, ...]:
    return tuple("smiles" if i == place else f"column_{i + 1}" for i in range(width))


def _blanks_without_header(first: str, below: list[str], is_smi: bool, common: dict) -> TextFormat | None:
    table = [_words(row) for row in (first, *below)]
    place = _smiles_column(table)
    if place is None and is_smi:
        place = 0
    if place is None:
        return None
    counts = {len(words) for words in table}
    # names of several words: all that follows the SMILES is the second column
    width = counts.pop() if len(counts) == 1 else min(max(counts), max(place + 1, 2))
    return TextFormat(BLANKS, columns=_names(width, place), width=width, smiles_first=place == 0, **common)


def line_end(raw: str) -> str:
    """The line end that ``raw`` has, or an empty string.

    >>> line_end("a,b\\r\\n"), line_end("a,b")
    ('\\r\\n', '')
    """
    return next((end for end in ("\r\n", "\n", "\r") if raw.endswith(end)), "")


class Records:
    """Records of a text table: the text of each, and its cells.

    Parameters
    ----------
    stream
        The text, opened with ``newline=""``.
    layout
        What :func:`format_of` said.

    Attributes
    ----------
    mark
        The byte order mark if there is one, else an empty string. No record has it.
    line_number
        Of the line that was read last, from 1.

    Examples
    --------
    >>> text = "# from a screen\\nsmiles,y\\nCCO,1\\n"
    >>> list(Records(io.StringIO(text, newline=""), format_of(text, known=["smiles"])))
    [('# from a screen\\n', []), ('smiles,y\\n', ['smiles', 'y']), ('CCO,1\\n', ['CCO', '1'])]
    """

    def __init__(self, stream: io.TextIOBase, layout: TextFormat) -> None:
        self.layout = layout
        self.line_number = 0
        self._stream = stream
        self._pending: list[str] = []
        self._width = layout.width or (len(layout.columns) if layout.columns else 0)
        self._headless = layout.columns is None
        self._next = stream.readline()
        self.mark = _BOM if self._next.startswith(_BOM) else ""
        self._next = self._next.removeprefix(_BOM)
        self._reader = csv.reader(self._lines(), delimiter=layout.delimiter)

    def _lines(self) -> Iterator[str]:
        """Physical lines; those of the record in hand are remembered."""
        while line := self._take():
            self._pending.append(line)
            yield line

    def _take(self) -> str:
        line, self._next = self._next, ""
        if line:
            self.line_number += 1
            self._next = self._stream.readline()
        return line

    def read(self) -> tuple[str, list[str]]:
        """The next record: its text with its line end, and its cells; no cells of a blank line or a comment.

        At the end both are empty.
        """
        if self.line_number < self.layout.preamble or self._is_comment(self._next):
            return self._take(), []
        if self.layout.divided_by_blanks:
            raw = self._take()
            fields = self._by_blanks(raw)
        else:
            fields = next(self._reader, [])
            raw = "".join(self._pending)
            self._pending.clear()
        if fields and self._headless:
            self._headless, self._width = False, len(fields)
        return raw, fields

    def __iter__(self) -> Iterator[tuple[str, list[str]]]:
        while (record := self.read())[0]:
            yield record

    def _is_comment(self, line: str) -> bool:
        if not line.startswith("#") or self._headless:  # a header may begin like this
            return False
        if self.layout.smiles_first:
            return True
        count = len(_cells(line.rstrip("\r\n"), self.layout.delimiter))
        return count != self._width and (count == 1 or self.layout.commented)

    def _by_blanks(self, raw: str) -> list[str]:
        line = raw.strip()
        if self._headless and line.startswith("#"):
            line = line[1:].strip()
        words = []
        position = 0
        for match in _WORD.finditer(line):
            if len(words) == self._width - 1:
                break
            words.append(match[0])
            position = match.end()
        rest = line[position:].strip()
        if len(words) == 1 and self.layout.smiles_first and continues(rest):
            return [line]  # no name, but the other half of a damaged SMILES
        return [*words, rest] if rest else words
