"""Copies of fitted models: by pickle, ``copy.deepcopy``, joblib and cloudpickle (Ray), in a callback, in another process."""

from __future__ import annotations

import copy
import gc
import io
import multiprocessing
import os
import pickle
from operator import methodcaller

import joblib
import numpy as np
import pytest
import torch

TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def by_pickle(model):
    return pickle.loads(pickle.dumps(model))


def by_joblib(model):
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


def by_cloudpickle(model):  # what Ray and joblib's workers send
    return pickle.loads(pytest.importorskip("cloudpickle").dumps(model))


WAYS = [by_pickle, by_joblib, by_cloudpickle, copy.deepcopy]


@pytest.fixture(params=["constant", "ExponentialDecay", "PolynomialDecay", "LinearCosineDecay"])
def rate(request, dc):
    if request.param == "constant":
        return 0.003
    more = {"decay_rate": 0.9} if request.param == "ExponentialDecay" else {}
    if request.param == "PolynomialDecay":
        more = {"final_rate": 1e-4}
    return getattr(dc.models.optimizers, request.param)(0.003, decay_steps=20, **more)


def small(rate=0.003, **options):
    from dc_graphsam.dc import CoMPTModel, GraphSAMOptimizer

    return CoMPTModel(
        n_tasks=1, mode="classification", batch_size=4, optimizer=GraphSAMOptimizer(rate), **TINY, **options
    )


def train(model, data, epochs=1, **options):
    np.random.seed(3)
    torch.manual_seed(3)
    model.fit(data, nb_epoch=epochs, checkpoint_interval=0, **options)
    return model.predict(data)


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_of_a_fitted_model_predicts_the_same_and_goes_on_as_the_original(way, rate, classification):
    model = small(rate)
    before = train(model, classification, 2)
    twin = way(model)
    assert np.array_equal(twin.predict(classification), before)
    assert (twin.passes, twin.get_global_step()) == (model.passes, model.get_global_step()) == (8, 6)
    after = train(twin, classification, 2)
    assert np.array_equal(model.predict(classification), before) and not np.array_equal(after, before)
    assert np.array_equal(train(model, classification, 2), after)
    assert [group["lr"] for group in twin._pytorch_optimizer.param_groups] == [
        group["lr"] for group in model._pytorch_optimizer.param_groups
    ]


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_of_a_model_that_was_never_fitted(way, classification):
    model = small()
    twin = way(model)
    assert np.array_equal(train(twin, classification), train(model, classification))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("first", ["original", "copy"])
def test_deleting_one_leaves_the_checkpoints_of_the_other(way, first, classification):
    model = small()
    model.fit(classification, nb_epoch=1)
    twin = way(model)
    twin.save()
    kept, gone = (twin, model) if first == "original" else (model, twin)
    folders = [kept.model_dir, gone.model_dir]
    assert folders[0] != folders[1] and all(map(os.path.isdir, folders))
    del model, twin, gone
    gc.collect()
    assert [os.path.isdir(folder) for folder in folders] == [True, False]
    kept.restore()


def test_a_copy_that_fails_on_the_way_deletes_nothing(classification):
    model = small()
    model.fit(classification, nb_epoch=1)
    model.wandb_logger = (i for i in ())  # cannot be pickled, nor copied
    with pytest.raises(TypeError):
        copy.deepcopy(model)
    gc.collect()
    model.restore()


def test_a_folder_given_by_name_stays_that_of_the_copy(tmp_path, classification):
    model = small(model_dir=tmp_path)
    model.fit(classification, nb_epoch=1)
    twin = by_pickle(model)
    assert twin.model_dir == str(tmp_path)
    del twin
    gc.collect()
    model.restore()


def test_a_checkpoint_of_a_copy_holds_its_learning_rate_schedule(dc, classification):
    model = small(dc.models.optimizers.ExponentialDecay(0.003, 0.9, 1))
    train(model, classification)
    twin = by_pickle(model)
    twin.save()
    after = train(twin, classification)
    twin.restore()
    assert twin._lr_schedule.last_epoch == model._lr_schedule.last_epoch == 3
    assert np.array_equal(train(twin, classification), after)


def test_a_copy_made_in_a_callback_is_as_if_fit_had_ended_there(classification):
    """The best model so far, kept aside: nothing of the run under way clings to it."""
    model, kept = small(), []
    train(model, classification, 2, callbacks=lambda model, step: kept.append(copy.deepcopy(model)))
    assert len(kept) == 6 and not any(twin._pytorch_optimizer.perturbed for twin in kept)
    assert kept[2]._steps is None and not kept[2]._pytorch_optimizer._optimizer_step_pre_hooks
    assert np.array_equal(train(kept[-1], classification), train(model, classification))


def test_a_copy_of_a_model_that_trains_some_of_its_parameters(dc, classification):
    model = small(dc.models.optimizers.PolynomialDecay(0.003, 1e-4, 10))
    head = [p for name, p in model.model.named_parameters() if "classifier" in name]
    train(model, classification, variables=head)
    twin = by_pickle(model)
    own = [p for name, p in twin.model.named_parameters() if "classifier" in name]
    after = train(twin, classification, variables=own)
    assert len(twin._optimizer_for_vars) == 1  # the one that was there
    assert np.array_equal(train(model, classification, variables=head), after)


@pytest.mark.parametrize("way", WAYS)
def test_a_wrapped_model_of_deepchem_can_be_copied(way, dc):
    from dc_graphsam.dc import GraphSAMOptimizer, sharpness_aware

    data = dc.data.NumpyDataset(np.random.rand(12, 3), np.random.rand(12, 1))
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    plain = dc.models.TorchModel(net, dc.models.losses.L2Loss(), batch_size=4)
    rate = dc.models.optimizers.PolynomialDecay(0.003, 1e-4, 10)
    model = sharpness_aware(plain, GraphSAMOptimizer(rate))
    before = train(model, data, 2)
    twin = way(model)
    assert type(twin) is type(model) and twin.model_dir != model.model_dir
    assert np.array_equal(twin.predict(data), before)
    assert np.array_equal(train(twin, data, 2), train(model, data, 2))


def test_a_subclass_of_a_wrapped_class_stays_one(dc, monkeypatch):
    from dc_graphsam.dc import sharpness_aware

    base = sharpness_aware(dc.models.TorchModel)
    subclass = type("Wrapped", (base,), {"__module__": __name__})
    monkeypatch.setitem(globals(), "Wrapped", subclass)
    assert type(by_pickle(subclass(torch.nn.Linear(3, 1), dc.models.losses.L2Loss()))) is subclass


def test_a_model_goes_to_another_process_and_comes_back(classification):
    model = small()
    before = train(model, classification)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(methodcaller("predict", classification), (model,))
        twin = pool.apply(copy.deepcopy, (model,))
        pool.close()
        pool.join()
    assert np.allclose(there, before, atol=1e-6) and np.array_equal(twin.predict(classification), before)
    assert os.path.isdir(model.model_dir) and twin.model_dir != model.model_dir
    assert np.array_equal(train(twin, classification), train(model, classification))
