"""The package ``dc_graphsam.dc`` as a whole."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dc_graphsam import dc as door
from dc_graphsam import models
from dc_graphsam.dc import GraphTransformerModel


def test_every_name_can_be_had():
    for name in door.__all__:
        assert getattr(door, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'CoMPT'"):
        door.CoMPT  # noqa: B018


def test_every_backbone_has_a_wrapper():
    backbones = {
        getattr(models, name)
        for name in models.__all__
        if name.endswith("ForPropertyPrediction") and not name.startswith("Auto")
    }
    exported = [getattr(door, name) for name in door.__all__]
    wrappers = [cls for cls in exported if isinstance(cls, type) and issubclass(cls, GraphTransformerModel)]
    assert {cls.network_class for cls in wrappers if cls is not GraphTransformerModel} == backbones


def test_importing_the_package_is_light():
    code = "import sys, dc_graphsam.dc, dc_graphsam.data; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"deepchem", "torch", "dgl", "datasets", "rdkit"} & set(loaded)
