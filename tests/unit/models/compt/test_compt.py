"""CoMPT: the factored form against the literal one, released weights, and input it refuses."""

from __future__ import annotations

import itertools
import json

import pytest
import torch

from dc_graphsam.chem import featurize
from dc_graphsam.data.collate import MoleculeCollator
from dc_graphsam.exceptions import FeatureSetError, InvalidArgumentError
from dc_graphsam.models import CoMPTConfig, CoMPTEncoder, CoMPTForPropertyPrediction
from dc_graphsam.models.compt.released_compt import released_name

SMALL = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4}


def pair_of_forms(**options):
    torch.manual_seed(0)
    factored = CoMPTForPropertyPrediction(CoMPTConfig(**{**SMALL, **options}))
    dense = CoMPTForPropertyPrediction(CoMPTConfig(**{**SMALL, **options, "attention": "dense"}))
    dense.load_state_dict(factored.state_dict())
    return factored, dense


@pytest.mark.parametrize("dtype,tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("kernel,norm", itertools.product(["exp", "softmax"], ["layer", "scale"]))
def test_factored_equals_dense(batch, kernel, norm, dtype, tolerance):
    """Outputs, attention matrices and all gradients; one atom, several fragments and padding are in the batch."""
    batch = {k: v.to(dtype) if v.is_floating_point() else v for k, v in batch.items()}
    outputs, grads = [], []
    for model in pair_of_forms(distance_kernel=kernel, norm=norm):
        output = model.to(dtype)(**batch, output_attentions=True, output_hidden_states=True)
        output.logits.square().sum().backward()
        outputs.append(output)
        grads.append({n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters()})
    scale = max(float(g.abs().max()) for g in grads[1].values())
    torch.testing.assert_close(outputs[0].logits, outputs[1].logits, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(outputs[0].node_states, outputs[1].node_states, atol=tolerance, rtol=tolerance)
    mask = batch["node_mask"][:, None, :, None] & batch["node_mask"][:, None, None, :]
    for factored, dense in zip(outputs[0].attentions, outputs[1].attentions, strict=True):
        torch.testing.assert_close(factored * mask, dense * mask, atol=tolerance, rtol=tolerance)
    for name in grads[0]:
        torch.testing.assert_close(
            grads[0][name], grads[1][name], atol=tolerance * max(scale, 1), rtol=tolerance, msg=name
        )


def test_large_bond_scores_do_not_overflow(batch):
    factored, dense = pair_of_forms()
    for model in (factored, dense):
        with torch.no_grad():
            for layer in model.encoder.layers:
                layer.attention.query.weight.mul_(300)
    a, b = factored(**batch).logits, dense(**batch).logits
    assert torch.isfinite(a).all()
    torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_row_sums_of_the_attention_probability(batch):
    """Without decay (λ = 0) each row of A sums to 2 − P_ii: the factor two off the diagonal."""
    model = CoMPTForPropertyPrediction(CoMPTConfig(**SMALL, lambda_constraint="clamp", initial_lambda=0.0))
    (attention, *_), mask = model(**batch, output_attentions=True).attentions, batch["node_mask"]
    diagonal = attention.diagonal(dim1=2, dim2=3)
    rows = (attention.sum(-1) + diagonal).transpose(1, 2)[mask]
    torch.testing.assert_close(rows, torch.full_like(rows, 2.0))


def test_encoder_is_what_the_predictor_holds(batch):
    model = CoMPTForPropertyPrediction(CoMPTConfig(**SMALL)).eval()
    encoder = CoMPTEncoder(model.config).eval()
    encoder.load_state_dict(model.encoder.state_dict())
    states = encoder(**batch).last_hidden_state
    assert torch.equal(states, model(**batch, output_hidden_states=True).hidden_states[-1])
    assert (states[~batch["node_mask"]] == 0).all()


def test_position_ids_carry_the_order(graphs):
    """Renumbered atoms with their own position indices give the same atom states, renumbered."""
    from dc_graphsam.testing import permute_atoms

    graph = graphs[1]
    order = torch.randperm(graph.num_nodes)
    encoder = CoMPTEncoder(CoMPTConfig(**SMALL)).eval()
    expected = encoder(**MoleculeCollator()([graph])).last_hidden_state[0]
    moved = MoleculeCollator()([permute_atoms(graph, order.numpy())])
    got = encoder(**moved, position_ids=(order + 1).unsqueeze(0)).last_hidden_state[0]
    torch.testing.assert_close(got, expected[order], atol=1e-5, rtol=1e-5)


# Released weights ------------------------------------------------------------------------------------------------


@pytest.fixture
def golden(golden_dir):
    from safetensors import safe_open

    with safe_open(golden_dir / "compt_bbbp_small.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    state = {k.removeprefix("state_dict."): v for k, v in tensors.items() if k.startswith("state_dict.")}
    return json.loads(metadata["config"]), json.loads(metadata["smiles"]), state, tensors


@pytest.mark.parametrize("attention", ["factored", "dense"])
def test_recorded_logits_from_smiles(golden, attention):
    hparams, smiles, state, tensors = golden
    model = CoMPTForPropertyPrediction.from_released(state, **hparams, attention=attention)
    for i, each in enumerate(smiles):
        for feature_set in ("compt", "compt-own-slot"):  # the wider set folds into what the weights were trained on
            batch = MoleculeCollator()([featurize(each, feature_set=feature_set)])
            with torch.no_grad():
                logits = model(**batch).logits[0]
            torch.testing.assert_close(logits, tensors[f"mol{i}.logits"], atol=1e-5, rtol=0)


def test_recorded_node_states_from_stored_features(golden):
    hparams, smiles, state, tensors = golden
    model = CoMPTForPropertyPrediction.from_released(state, **hparams)
    for i in range(len(smiles)):
        pairs = tensors[f"mol{i}.bond_features"]
        target, source = pairs.any(-1).nonzero(as_tuple=True)
        with torch.no_grad():
            output = model(
                node_features=tensors[f"mol{i}.node_features"][None, :, :-1],
                position_ids=tensors[f"mol{i}.node_features"][None, :, -1].long(),
                edge_index=torch.stack((source, target))[None],
                edge_features=pairs[target, source][None],
                distance=tensors[f"mol{i}.distance"][None],
                output_hidden_states=True,
            )
        torch.testing.assert_close(output.node_states[0], tensors[f"mol{i}.node_states"], atol=1e-5, rtol=0)
        torch.testing.assert_close(output.logits[0], tensors[f"mol{i}.logits"], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "hparams",
    [
        dict(
            d_model=16,
            N=2,
            h=4,
            N_dense=1,
            n_output=1,
            distance_matrix_kernel="exp",
            scale_norm=False,
            n_generator_layers=2,
        ),
        dict(
            d_model=16,
            N=3,
            h=2,
            N_dense=2,
            n_output=5,
            distance_matrix_kernel="softmax",
            scale_norm=True,
            n_generator_layers=4,
        ),
        dict(d_model=8, N=1, h=8, N_dense=3, n_output=2, scale_norm=True, n_generator_layers=1, max_length=30),
    ],
)
def test_released_round_trip(hparams):
    """Own weights written under the released names come back as the same model."""
    common = dict(aggregation_type="gru", dropout=0.0, dense_output_nonlinearity="mish", leaky_relu_slope=0.1)
    model = CoMPTForPropertyPrediction(
        CoMPTConfig(
            hidden_size=hparams["d_model"],
            num_hidden_layers=hparams["N"],
            num_attention_heads=hparams["h"],
            num_dense_layers=hparams["N_dense"],
            num_head_layers=hparams["n_generator_layers"],
            distance_kernel=hparams.get("distance_matrix_kernel", "softmax"),
            norm="scale" if hparams["scale_norm"] else "layer",
            lambda_constraint="free",
            unknown_bond="as-aromatic",
            keep_dead_parameters=True,
            max_position_embeddings=hparams.get("max_length", 50),
            task_names=[f"task_{i}" for i in range(hparams["n_output"])],
        )
    ).eval()
    state = {released_name(k, model.config): v for k, v in model.state_dict().items()}
    assert len(state) == len(model.state_dict())
    again = CoMPTForPropertyPrediction.from_released(state, **{**common, **hparams})
    batch = MoleculeCollator()([featurize("CC(=O)Nc1ccccc1"), featurize("C")])
    assert torch.equal(again(**batch).logits, model(**batch).logits)
    assert again.config.hidden_size == hparams["d_model"]


def test_released_settings_have_the_published_size():
    """2.62 million parameters in 84 tensors, 8 of them without gradient, at the length of the published preprocessing."""
    config = CoMPTConfig.released("bbbp", keep_dead_parameters=True, max_position_embeddings=99, attention="dense")
    model = CoMPTForPropertyPrediction(config)
    assert len(list(model.parameters())) == 84
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == 2.6
    model(**MoleculeCollator()([featurize("CCO")])).logits.sum().backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None]
    assert len(dead) == 8
    assert all("edge_output" in name for name in dead)


@pytest.mark.parametrize(
    "dataset", ["esol", "freesolv", "lipophilicity", "qm7", "bbbp", "tox21", "sider", "clintox", "bace"]
)
def test_released_settings_exist_for_nine_data_sets(dataset):
    config = CoMPTConfig.released(dataset)
    assert (config.hidden_size, config.num_dense_layers, config.dropout) == (256, 1, 0.0)
    assert config.loss == {"regression": "rmse", "classification": "bce"}[config.task_type] or dataset == "qm7"


def test_configuration_for_a_data_set():
    """Tasks, metric and label statistics of the training split; released settings under the name of the data set."""
    import datasets

    from dc_graphsam.tasks import TaskSpec

    def table(labels, sizes):
        return datasets.Dataset.from_dict({"labels": labels, "num_nodes": sizes})

    nan = float("nan")
    data = datasets.DatasetDict(
        train=table([[1.0, nan], [3.0, nan], [nan, 5.0]], [3, 9, 4]), test=table([[100.0, 100.0]], [300])
    )
    TaskSpec("mine", ("a", "b"), "regression", "mae", "compt-own-slot").attach(data)
    config = CoMPTConfig.for_dataset(data, hidden_size=8)
    assert (config.label_mean, config.label_std) == ([2.0, 5.0], [1.0, 1.0])  # one label, or none that vary: 1
    assert (config.task_names, config.metric, config.loss, config.hidden_size) == (["a", "b"], "mae", "mae", 8)
    assert config.max_position_embeddings == 300
    TaskSpec("esol", ("logS", "x"), "regression", "rmse", "compt").attach(data)
    config = CoMPTConfig.for_dataset(data, released=True)
    assert (config.num_hidden_layers, config.distance_kernel, config.unknown_bond) == (3, "softmax", "as-aromatic")
    assert config.task_names == ["logS", "x"]


def test_padding_takes_part_in_the_released_readout_only():
    model = CoMPTForPropertyPrediction(CoMPTConfig(**SMALL, readout="gru-released")).eval()
    graph = featurize("CCO")
    alone = model(**MoleculeCollator()([graph])).logits
    padded = model(**MoleculeCollator(pad_to=12)([graph])).logits
    assert float((alone - padded).detach().abs()) > 1e-3
    fixed = CoMPTForPropertyPrediction(CoMPTConfig(**SMALL, readout="gru-released", pad_to=12)).eval()
    fixed.load_state_dict(model.state_dict())
    torch.testing.assert_close(fixed(**MoleculeCollator()([graph])).logits, padded)
    packed = CoMPTForPropertyPrediction(CoMPTConfig(**SMALL)).eval()
    packed.load_state_dict(model.state_dict())
    torch.testing.assert_close(packed(**MoleculeCollator()([graph])).logits, alone)
    with pytest.raises(InvalidArgumentError, match=r"a molecule has 13 atoms; accepted: at most pad_to \(12\)"):
        fixed(**MoleculeCollator()([featurize("C" * 13)]))


def test_dative_bonds_are_aromatic_in_the_release():
    ferrous = MoleculeCollator()([featurize("[NH3]->[Fe]")])
    model = CoMPTForPropertyPrediction(CoMPTConfig(**SMALL, unknown_bond="as-aromatic")).eval()
    exact = MoleculeCollator()([featurize("[NH3]->[Fe]", feature_set="compt")])
    assert ferrous["edge_features"].shape[-1] == 14 and exact["edge_features"].shape[-1] == 13
    assert torch.equal(model(**ferrous).logits, model(**exact).logits)


# Bad input -------------------------------------------------------------------------------------------------------


def test_more_atoms_than_the_position_table_holds():
    batch = MoleculeCollator()([featurize("C" * 12)])
    model = CoMPTForPropertyPrediction(CoMPTConfig(**SMALL, max_position_embeddings=10))
    with pytest.raises(InvalidArgumentError, match="12 atoms, the position table of this model holds 10"):
        model(**batch)
    lenient = CoMPTForPropertyPrediction(CoMPTConfig(**SMALL, max_position_embeddings=10, position_overflow="last"))
    assert torch.isfinite(lenient(**batch).logits).all()


def test_five_hundred_atoms():
    model = CoMPTForPropertyPrediction(CoMPTConfig(**SMALL, max_position_embeddings=500)).eval()
    assert torch.isfinite(model(**MoleculeCollator()([featurize("C" * 500), featurize("C")])).logits).all()


@pytest.mark.parametrize(
    "key,name",
    [
        ("node_features", "node_features are 114 wide, this model reads 115"),
        ("edge_features", "edge_features are 13 wide, this model reads 14"),
    ],
)
def test_features_of_another_width(batch, key, name):
    model = CoMPTForPropertyPrediction(CoMPTConfig(**SMALL))
    with pytest.raises(FeatureSetError, match=name):
        model(**{**batch, key: batch[key][..., :-1]})


def test_no_input_names_what_is_needed():
    with pytest.raises(
        InvalidArgumentError, match="node_features, edge_index, edge_features and distance are needed, or graph"
    ):
        CoMPTForPropertyPrediction(CoMPTConfig(**SMALL))()


@pytest.mark.parametrize(
    "options,message",
    [
        ({"hidden_size": 10}, r"hidden_size is 10; accepted: a multiple of num_attention_heads \(4\)"),
        ({"distance_kernel": "gauss"}, "distance_kernel is 'gauss'; accepted: 'exp', 'softmax'"),
        ({"dropout": 1.0}, r"dropout is 1.0; accepted: a number in \[0, 1\)"),
        ({"edge_update": True}, "edge_update is True; accepted only with attention='dense'"),
        ({"num_hiden_layers": 2}, "no field 'num_hiden_layers'. Did you mean 'num_hidden_layers'"),
        ({"label_mean": [0.0, 1.0]}, r"label_mean has 2 values; accepted: one per task \(1\)"),
        ({"loss": "bce"}, "loss is 'bce'; accepted: 'rmse', 'mse', 'mae'"),
        ({"format_version": 99}, "install a newer one"),
    ],
)
def test_bad_configuration(options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        CoMPTConfig(**{**SMALL, **options})


def test_released_weights_that_do_not_fit_are_named(golden):
    hparams, _, state, _ = golden
    with pytest.raises(InvalidArgumentError, match="missing: .*encoder.layers.2.*"):
        CoMPTForPropertyPrediction.from_released(state, **{**hparams, "N": 3})
    with pytest.raises(InvalidArgumentError, match="Did you mean 'N_dense'"):
        CoMPTForPropertyPrediction.from_released(state, **hparams, N_dens=1)


def test_a_missing_tensor_is_an_error(tmp_path):
    from safetensors.torch import load_file, save_file

    model = CoMPTForPropertyPrediction(CoMPTConfig(**SMALL))
    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["readout.linear.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="readout.linear.weight"):
        CoMPTForPropertyPrediction.from_pretrained(tmp_path)
