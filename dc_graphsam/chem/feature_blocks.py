"""What a feature set is made of.

A feature set is a list of blocks. Names, column numbers and widths are all derived from the blocks, so that none of
them is written twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from dc_graphsam.exceptions import check_choice

__all__ = ["FeatureBlock", "FeatureSet"]


@dataclass(frozen=True)
class FeatureBlock:
    """Neighbouring columns that encode one property.

    Attributes
    ----------
    name
        The property, e.g. ``"hybridization"``.
    values
        One column per value (one-hot); empty for a property that is a number and takes one column.
    scale
        A number is divided by this.
    fallback
        The value whose column is set when the property has none of the listed ``values``.
    """

    name: str
    values: tuple[str, ...] = ()
    scale: float = 1.0
    fallback: str | None = None

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}={value}" for value in self.values) or (self.name,)

    def column_of(self, value: str) -> int:
        """Column of ``value`` counted from the start of the block."""
        return self.values.index(value if value in self.values else self.fallback)


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Columns of node and edge features. There is one object per registered name.

    Attributes
    ----------
    name
        Name under which the set is registered and which configurations and data sets carry.
    node_blocks, edge_blocks
        The blocks, in column order.

    Examples
    --------
    >>> from dc_graphsam.chem import get_feature_set
    >>> compt = get_feature_set("compt")
    >>> compt.node_feature_size, compt.edge_feature_size
    (115, 13)
    >>> compt.node_feature_names[5], compt.node_feature_names[-2:]
    ('atomic_number=6', ('aromatic', 'in_ring'))
    >>> compt.node_slice("hybridization")
    slice(101, 107, None)
    """

    name: str
    node_blocks: tuple[FeatureBlock, ...]
    edge_blocks: tuple[FeatureBlock, ...]

    @cached_property
    def node_feature_names(self) -> tuple[str, ...]:
        return tuple(name for block in self.node_blocks for name in block.column_names)

    @cached_property
    def edge_feature_names(self) -> tuple[str, ...]:
        return tuple(name for block in self.edge_blocks for name in block.column_names)

    @property
    def has_chirality(self) -> bool:
        """Whether a column tells R from S."""
        return any(block.name == "chirality" for block in self.node_blocks)

    @property
    def node_feature_size(self) -> int:
        return len(self.node_feature_names)

    @property
    def edge_feature_size(self) -> int:
        return len(self.edge_feature_names)

    def node_slice(self, block: str) -> slice:
        """Columns of the atom property ``block``."""
        return _look_up(self._node_slices, block)

    def edge_slice(self, block: str) -> slice:
        """Columns of the bond property ``block``."""
        return _look_up(self._edge_slices, block)

    def node_block(self, name: str) -> FeatureBlock:
        """The atom property called ``name``."""
        return _look_up({block.name: block for block in self.node_blocks}, name)

    def edge_block(self, name: str) -> FeatureBlock:
        """The bond property called ``name``."""
        return _look_up({block.name: block for block in self.edge_blocks}, name)

    @cached_property
    def _node_slices(self) -> dict[str, slice]:
        return _slices(self.node_blocks)

    @cached_property
    def _edge_slices(self) -> dict[str, slice]:
        return _slices(self.edge_blocks)


def _slices(blocks: tuple[FeatureBlock, ...]) -> dict[str, slice]:
    stops = list(accumulate(len(block.column_names) for block in blocks))
    return {block.name: slice(start, stop) for block, start, stop in zip(blocks, [0, *stops[:-1]], stops, strict=True)}


def _look_up(entries: dict[str, Any], block: str) -> Any:
    return entries[check_choice("block", block, entries)]
