"""evaluate modules, loaded without a network in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.metrics.local_modules import MODULES, load_metric, module_folder

SCRIPT = """
import json, sys
import socket

def refuse(*args, **kwargs):
    raise AssertionError("a connection was asked for")

socket.socket.connect = refuse
from dc_graphsam.metrics.local_modules import MODULES, load_metric, module_folder

nan = float("nan")
out = {}
for name in MODULES:
    metric = load_metric(name)
    one = metric.compute(predictions=[0.1, 0.9, 0.4, 0.6], references=[0.0, 1.0, 1.0, nan])
    many = metric.compute(
        predictions=[[0.1, 2.0], [0.9, 1.0], [0.4, 5.0], [0.7, 7.0]],
        references=[[0.0, nan], [1.0, nan], [nan, nan], [0.0, nan]],
        task_names=["a", "b"],
    )
    metric.add_batch(predictions=[[0.1], [0.9]], references=[[0.0], [1.0]])
    metric.add(prediction=[0.4], reference=[1.0])
    streamed = metric.compute()
    out[name] = [one, many, streamed]
import evaluate
out["direct"] = evaluate.load(str(module_folder("masked_mae"))).compute(predictions=[1.0], references=[3.0])
print(json.dumps(out))
"""


def test_modules_load_and_compute_offline(tmp_path):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout.splitlines()[-1])
    assert out["direct"] == {"mae": 2.0}
    names = [name.removeprefix("masked_") for name in MODULES]
    for name in names:
        one, many, streamed = out[f"masked_{name}"]
        assert set(one) == {name}
        assert streamed == one  # the row without a label changes nothing
        assert list(many["per_task"]) == ["a"]
        assert many["left_out"] == {"b": "no label"}
        assert many[name] == many["per_task"]["a"]
    assert out["masked_roc_auc"][0] == {"roc_auc": 1.0}
    assert out["masked_mae"][0] == {"mae": pytest.approx((0.1 + 0.1 + 0.6) / 3)}


def test_every_module_has_its_folder_and_script():
    for name in MODULES:
        assert (module_folder(name) / f"{name}.py").is_file()


def test_unknown_module_is_named():
    with pytest.raises(InvalidArgumentError, match=r"name is 'masked_rocauc'.*Did you mean 'masked_roc_auc'"):
        load_metric("masked_rocauc")
