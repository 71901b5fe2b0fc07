"""What stands behind a SMILES, after a blank: a CXSMILES block, a name, or the other half of a damaged SMILES.

RDKit's parser stops at the first blank and says nothing of the rest, so that ``COC =cO)C`` is read as ``COC``.
"""

from __future__ import annotations

import re

__all__ = ["continues", "ignored_text", "is_closed_smiles", "looks_like_smiles", "split_smiles"]

_INVISIBLE = "\ufeff\u200b\u2060\x1a"  # byte order mark, zero-width characters, the end of a DOS file
_BLANK = re.compile(r"[\s\ufeff\u200b\u2060]").search
_FIRST = re.compile(r"[\s\ufeff\u200b\u2060]+")
_EXTENSION = re.compile(r"\|[^|]*\|")
_ATOM = r"(?:\[[0-9A-Za-z@+\-:*#.]+\]|Cl|Br|[BCNOPSFI*]|[bcnops])"
_SMILES = re.compile(rf"{_ATOM}(?:{_ATOM}|[-=#$:/\\.~()]|->|<-|%\d\d|%\(\d+\)|\d)*").fullmatch
_AROMATIC_RING = re.compile(r"[bcnops][0-9%]").search
_BOND_FIRST = re.compile(r"(?:[=#$:/\\~.)@\]]|-[A-Za-z\[])").match  # no name begins like this


def looks_like_smiles(text: str) -> bool:
    """Whether a word is made of what SMILES are made of; whether it is valid is for RDKit to say.

    >>> [looks_like_smiles(word) for word in ("CCO", "[Na+].[Cl-]", "c1ccccc1", "smiles", "ethanol", "Z1", "12", "")]
    [True, True, True, False, False, False, False, False]
    """
    return _SMILES(text) is not None


def is_closed_smiles(word: str) -> bool:
    """Whether a word looks like a SMILES whose rings and brackets are closed, unlike ``C1`` and ``c``.

    >>> [is_closed_smiles(word) for word in ("C1CC1", "c1ccccc1", "C1", "CC(C", "c")]
    [True, True, False, False, False]
    """
    if not looks_like_smiles(word) or _unbalanced(word):
        return False
    bonds = re.sub(r"\[[^\]]*\]|Cl|Br", "", word)
    rings = re.findall(r"%\d\d|%\(\d+\)|\d", bonds)
    aromatic = re.search(r"[bcnops]", bonds) is not None
    return all(rings.count(ring) % 2 == 0 for ring in set(rings)) and bool(rings or not aromatic)


def continues(text: str) -> bool:
    """Whether ``text`` can only be a piece of a SMILES: it begins with a bond, or closes what it has not opened.

    >>> [continues(text) for text in ("=cO)C(C)C", "O)C", "ethanol", "(R)-ibuprofen", "1,2-dichloroethane", "NO")]
    [True, True, False, False, False, False]
    """
    return bool(_BOND_FIRST(text)) or _unbalanced(text)


def _unbalanced(text: str) -> bool:
    for opening, closing in ("()", "[]"):
        depth = 0
        for character in text:
            depth += (character == opening) - (character == closing)
            if depth < 0:
                return True
        if depth:
            return True
    return False


def split_smiles(text: str) -> tuple[str, str, str]:
    """Take a text apart at the blanks.

    Parameters
    ----------
    text
        A SMILES and what stands behind it. Blanks of all kinds around it, byte order marks and zero-width characters
        have no meaning.

    Returns
    -------
    smiles, extension, rest : str
        Up to the first blank; a CXSMILES block ``|…|``, if one follows; all else.

    Examples
    --------
    >>> split_smiles(" CCO |$a;b;c$| ethanol 96 %")
    ('CCO', '|$a;b;c$|', 'ethanol 96 %')
    >>> split_smiles("CCO\\xa0")
    ('CCO', '', '')
    """
    text = _stripped(text)
    smiles, *behind = _FIRST.split(text, maxsplit=1)
    rest = behind[0] if behind else ""
    block = _EXTENSION.match(rest)
    if block is None:
        return smiles, "", rest
    return smiles, block[0], _stripped(rest[block.end() :])


def _stripped(text: str) -> str:
    before = None
    while text != before:
        before, text = text, text.strip().strip(_INVISIBLE)
    return text


def ignored_text(smiles: str) -> str | None:
    """The text behind a SMILES that is no part of the molecule, such as a name; ``None`` if there is none.

    >>> ignored_text("CCO ethanol"), ignored_text("CCO |$a;b;c$|"), ignored_text(" CCO ")
    ('ethanol', None, None)
    """
    if _BLANK(smiles) is None:
        return None
    return split_smiles(smiles)[2] or None


def damage(rest: str) -> str | None:
    """Why the text behind a SMILES cannot be ignored, or ``None`` if it is a name.

    >>> damage("=cO)C"), damage("ethanol")
    ("a blank inside: '=cO)C' behind it reads like its continuation", None)
    """
    if rest.startswith("|"):
        return f"{shown(rest)} behind it is no CXSMILES block, which ends with '|'"
    joined = "".join(_FIRST.split(rest))
    # behind a whole molecule a piece of it closes its own rings; C1 and co are names
    if continues(rest) or is_closed_smiles(joined) or (looks_like_smiles(joined) and _AROMATIC_RING(joined)):
        return f"a blank inside: {shown(rest)} behind it reads like its continuation"
    return None


def shown(text: str, most: int = 40) -> str:
    """The beginning of a text in quotes, without control characters.

    >>> shown("a" * 50, 10)
    "'aaaaaaaaa…'"
    """
    return repr(text if len(text) <= most else text[: most - 1] + "…")
