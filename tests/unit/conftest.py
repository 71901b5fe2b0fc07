"""Small models and tables for the tests of the Trainer."""

from __future__ import annotations

import csv

import numpy as np
import pytest

CHAINS = ["C" * n for n in range(1, 13)]
SMILES = [chain + end for chain in CHAINS for end in ("", "O", "N", "C(=O)O")]  # 48 molecules of 1 to 15 atoms


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """For a whole module, so that runs made by its fixtures have as many threads as those made by its tests."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of additions, and so the last bits, do not depend on the machine
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def regression_csv(tmp_path_factory):
    """One measured value that grows with size, and one that is often missing."""
    return _write(tmp_path_factory.mktemp("regression") / "toy.csv", ["size", "oxygens"])


@pytest.fixture(scope="session")
def regression_data(regression_csv):
    return _load(regression_csv, ["size", "oxygens"], "regression")


@pytest.fixture(scope="session")
def classification_data(tmp_path_factory):
    path = _write(tmp_path_factory.mktemp("classification") / "toy.csv", ["has_oxygen"])
    return _load(path, ["has_oxygen"], "classification")


def _write(path, tasks):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["smiles", *tasks])
        for i, text in enumerate(SMILES):
            values = {
                "size": 10 + len(text) / 3,
                "oxygens": text.count("O") if i % 3 else "",
                "has_oxygen": int("O" in text),
            }
            writer.writerow([text, *(values[task] for task in tasks)])
    return path


def _load(path, tasks, task_type):
    from dc_graphsam.data import load_csv

    return load_csv(path, "smiles", tasks, task_type, progress=False, cache_dir=path.parent, sizes=(0.6, 0.2, 0.2))


@pytest.fixture(scope="session")
def make_compt():
    """Factory of a small CoMPT for a table."""

    def make(data, seed=0, **overrides):
        import torch

        from dc_graphsam import CoMPTConfig, CoMPTForPropertyPrediction

        torch.manual_seed(seed)
        settings = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "dropout": 0.1, **overrides}
        return CoMPTForPropertyPrediction(CoMPTConfig.for_dataset(data, **settings))

    return make


@pytest.fixture(scope="session")
def numbers():
    """Rows for the plain module: 40 inputs of width 6 and a value each."""
    import torch

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 6, generator=generator)
    y = x[:, :1].sin() + 0.1 * torch.randn(40, 1, generator=generator)
    return [{"x": x[i], "labels": y[i]} for i in range(40)]


@pytest.fixture(scope="session")
def make_module():
    """Factory of a plain ``nn.Module`` that the stock Trainer takes."""
    return make_net


def make_net(seed=0, dropout=0.2, norm=False):
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = torch.nn.Sequential(
                torch.nn.Linear(6, 16),
                torch.nn.BatchNorm1d(16) if norm else torch.nn.LayerNorm(16),
                torch.nn.Tanh(),
                torch.nn.Dropout(dropout),
            )
            self.head = torch.nn.Linear(16, 1)
            self.unused = torch.nn.Linear(3, 3)  # never gets a gradient

        def forward(self, x, labels=None):
            logits = self.head(self.body(x))
            loss = None if labels is None else torch.nn.functional.mse_loss(logits, labels)
            return {"loss": loss, "logits": logits} if loss is not None else {"logits": logits}

    torch.manual_seed(seed)
    return Net()


@pytest.fixture
def make_args(tmp_path):
    """Factory of training arguments with quiet defaults."""

    def make(**options):
        from dc_graphsam.hf import GraphSAMTrainingArguments

        settings = {
            "num_train_epochs": 2,
            "per_device_train_batch_size": 8,
            "save_strategy": "no",
            "disable_tqdm": True,
            "use_cpu": True,
            "seed": 3,
        }
        return GraphSAMTrainingArguments(str(tmp_path / "run"), **{**settings, **options})

    return make


def weights_of(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@pytest.fixture(scope="session")
def same_bits():
    """Whether two models, or state dicts, hold equal bits."""
    import torch

    def compare(one, other):
        one = one if isinstance(one, dict) else weights_of(one)
        other = other if isinstance(other, dict) else weights_of(other)
        return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)

    return compare


@pytest.fixture(scope="session")
def largest_difference():
    def compare(one, other):
        one, other = weights_of(one), weights_of(other)
        return max(float(np.abs((one[n] - other[n]).double().numpy()).max()) for n in one)

    return compare
