import pytest

from dc_graphsam.chem import DEFAULT_FEATURE_SET, FEATURE_SETS, FeatureBlock, get_feature_set
from dc_graphsam.exceptions import InvalidArgumentError


def test_widths_are_those_of_the_released_code():
    assert (get_feature_set("compt").node_feature_size, get_feature_set("compt").edge_feature_size) == (115, 13)


def test_own_slot_adds_one_column_at_the_end():
    compt, own = get_feature_set("compt"), get_feature_set("compt-own-slot")
    assert own.node_feature_names == compt.node_feature_names
    assert own.edge_feature_names == (*compt.edge_feature_names, "bond_type_other")
    assert get_feature_set() is FEATURE_SETS[DEFAULT_FEATURE_SET] is own


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_names_are_unique_and_slices_cover_all_columns(name):
    feature_set = FEATURE_SETS[name]
    for names, blocks, find in (
        (feature_set.node_feature_names, feature_set.node_blocks, feature_set.node_slice),
        (feature_set.edge_feature_names, feature_set.edge_blocks, feature_set.edge_slice),
    ):
        assert len(set(names)) == len(names)
        columns = [column for block in blocks for column in range(*find(block.name).indices(len(names)))]
        assert columns == list(range(len(names)))
        assert all(names[find(block.name)] == block.column_names for block in blocks)


def test_block_puts_unlisted_values_in_its_fallback():
    block = FeatureBlock("colour", ("red", "blue", "other"), fallback="other")
    assert [block.column_of(value) for value in ("red", "blue", "green")] == [0, 1, 2]


def test_unknown_feature_set_is_refused():
    with pytest.raises(
        InvalidArgumentError, match=r"feature_set is 'comp'; accepted: 'compt'.* Did you mean 'compt'\?"
    ):
        get_feature_set("comp")


def test_unknown_block_is_refused():
    with pytest.raises(InvalidArgumentError, match="block is 'colour'; accepted: 'atomic_number'"):
        get_feature_set().node_slice("colour")
    with pytest.raises(InvalidArgumentError, match="block is 'colour'; accepted: 'bond_type'"):
        get_feature_set().edge_block("colour")
