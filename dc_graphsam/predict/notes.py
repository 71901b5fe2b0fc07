"""What should be known about a prediction: that a text was ignored, or that the molecule lies beyond the training set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dc_graphsam.chem.seen import Seen
from dc_graphsam.chem.trailing import ignored_text, shown

__all__ = ["Note", "note_text", "notes_of"]

_SHOWN = 5  # things of one molecule that training had not


@dataclass(frozen=True)
class Note:
    """A remark on one prediction.

    Attributes
    ----------
    kind
        The same for all remarks of this kind, to count them.
    text
        What is said of this molecule.
    """

    kind: str
    text: str


def notes_of(config: Any, graphs: Sequence[Any], reasons: Sequence[str | None]) -> list[list[Note]]:
    """Remarks on the predictions of some molecules.

    Parameters
    ----------
    config
        Configuration of the model; its ``seen`` is the record of the training set, without which nothing is said of it.
    graphs
        n :class:`~dc_graphsam.chem.MolGraph`, or errors.
    reasons
        n, as of :func:`~dc_graphsam.predict.molecules.predict_graphs`: what has no prediction gets no remark.

    Returns
    -------
    list of list of Note
        n of them, mostly empty: text behind the SMILES that was ignored, more atoms than any molecule of training had,
        and elements, charges, hybridizations, bond types and stereo that none had.

    Examples
    --------
    >>> from dc_graphsam.chem import featurize
    >>> from dc_graphsam.models import CoMPTConfig
    >>> seen = Seen("compt-own-slot")
    >>> seen.add([featurize("CCO")])
    >>> config = CoMPTConfig(seen=seen.to_dict(), position="none")
    >>> [note.text for note in notes_of(config, [featurize("CCCF me")], [None])[0]]
    ["'me' behind the SMILES ignored", '4 atoms, training had at most 3', 'element F not seen in training']
    """
    out: list[list[Note]] = [[] for _ in graphs]
    places = [place for place, reason in enumerate(reasons) if reason is None]
    if not places:
        return out
    for place in places:
        text = ignored_text(graphs[place].smiles)
        if text is not None:
            out[place].append(Note("text behind the SMILES ignored", f"{shown(text)} behind the SMILES ignored"))
    record = getattr(config, "seen", None)
    if not record:
        return out
    seen = Seen(config.feature_set, record)
    by_index = getattr(config, "position", None) == "index"
    for place in places:
        atoms = graphs[place].num_nodes
        if atoms > seen.atoms:
            text = f"{atoms} atoms, training had at most {seen.atoms}"
            text += " (the positions beyond were never learned)" if by_index else ""
            out[place].append(Note("more atoms than in training", text))
    for place, words in zip(places, seen.beyond([graphs[place] for place in places]), strict=True):
        out[place] += [_unseen(word) for word in words[:_SHOWN]]
        if len(words) > _SHOWN:
            more = f"{len(words) - _SHOWN} more things not seen in training"
            out[place].append(Note("more things not seen in training", more))
    return out


def _unseen(word: str) -> Note:
    text = f"{word} not seen in training"
    return Note(text, text)


def note_text(notes: Sequence[Note]) -> str:
    """One line of all remarks on a molecule; empty if there is none."""
    return "; ".join(note.text for note in notes)
