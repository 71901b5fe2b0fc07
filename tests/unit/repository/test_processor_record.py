from __future__ import annotations

import pytest

from dc_graphsam import MoleculeProcessor
from dc_graphsam.chem import FEATURE_SETS
from dc_graphsam.repository.files import processor_record, write_processor_record


@pytest.mark.parametrize("feature_set", FEATURE_SETS)
def test_it_is_what_the_processor_writes_and_reads(feature_set, tmp_path):
    assert processor_record(feature_set) == MoleculeProcessor(feature_set).to_dict()
    write_processor_record(tmp_path, feature_set)
    assert MoleculeProcessor.from_pretrained(tmp_path) == MoleculeProcessor(feature_set)
