"""Loops that were not written for us: a stock Trainer, a gradient scaler, a scheduler, a compiled model."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from dc_graphsam.exceptions import InvalidArgumentError
from dc_graphsam.optim import SAM, GraphSAM, MomentumSAM


@pytest.fixture
def data():
    torch.manual_seed(0)
    return torch.randn(48, 4), torch.randn(48, 1)


class Regressor(nn.Module):
    """What a Trainer wants: a dict of tensors in, a loss out."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x, labels=None):
        logits = self.layers(x)
        return {"loss": (logits - labels).square().mean(), "logits": logits}


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("method", ["graphsam", "momentum-sam"])
def test_the_stock_trainer_drives_methods_with_one_gradient_per_step(data, tmp_path, method, accumulation):
    transformers = pytest.importorskip("transformers")
    x, y = data
    rows = [{"x": x[i], "labels": y[i]} for i in range(48)]
    torch.manual_seed(1)
    model = Regressor()
    mirror = copy.deepcopy(model)

    def build(module):
        if method == "momentum-sam":
            return MomentumSAM(module.parameters(), torch.optim.Adam, rho=0.1, lr=0.01)
        return GraphSAM(module.parameters(), torch.optim.Adam, anchor="in-stream", anchor_every=6, rho=0.1, lr=0.01)

    optimizer, seen = build(model), []

    class Watch(transformers.TrainerCallback):
        def on_evaluate(self, args, state, control, **kwargs):
            seen.append(optimizer.perturbed)

        def on_save(self, args, state, control, **kwargs):
            seen.append(optimizer.perturbed)

    arguments = transformers.TrainingArguments(
        str(tmp_path),
        num_train_epochs=2,
        per_device_train_batch_size=8 // accumulation,
        gradient_accumulation_steps=accumulation,
        eval_strategy="steps",
        eval_steps=4,
        save_strategy="steps",
        save_steps=3,
        logging_steps=100,
        max_grad_norm=0.0,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        remove_unused_columns=False,
        lr_scheduler_type="constant",
        train_sampling_strategy="sequential",
    )
    trainer = transformers.Trainer(
        model, arguments, train_dataset=rows, eval_dataset=rows[:8], optimizers=(optimizer, None), callbacks=[Watch()]
    )
    trainer.train()
    assert len(seen) >= 6 and not any(seen)
    assert optimizer.steps == 12 and optimizer.last.perturbation_norm == pytest.approx(
        0.1 * (0.5 if method == "graphsam" else 1)
    )
    # the same steps by hand
    by_hand = build(mirror)
    for t in range(12):
        part = slice(8 * (t % 6), 8 * (t % 6) + 8)

        def closure(part=part):
            by_hand.zero_grad()
            loss = mirror(x[part], y[part])["loss"]
            loss.backward()
            return loss

        by_hand.step(closure)
    for a, b in zip(model.parameters(), mirror.parameters()):
        assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("method", [SAM, GraphSAM])
def test_a_gradient_scaler_with_overflow(data, method):
    """fp16 style: scaled losses in both passes, an overflow now and then, the same weights as without a scaler."""
    x, y = data
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    plain = copy.deepcopy(model)
    options = {"lr": 0.1, "rho": 0.05}
    optimizer, other = (
        method(model.parameters(), torch.optim.SGD, **options),
        method(plain.parameters(), torch.optim.SGD, **options),
    )
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=10**6)
    overflows = {(1, "pass B"), (3, "pass B"), (0, "pass A"), (2, "pass A")}
    for t in range(6):
        for number, instance in ((0, optimizer), (1, other)):
            if t % 3 == 0:
                instance.set_epoch(t // 3)
            module = (model, plain)[number]
            part = slice(8 * t, 8 * t + 8)

            def loss_of(module=module, part=part):
                return (module(x[part]) - y[part]).square().mean()

            if instance is other:

                def closure(loss_of=loss_of):
                    other.zero_grad()
                    loss = loss_of()
                    loss.backward()
                    return loss

                other.step(closure)
                continue
            for attempt in ("pass A", "pass B", None):
                spoil = torch.inf if (t, attempt) in overflows else 1.0
                if attempt is not None and spoil == 1.0:
                    continue
                if attempt == "pass A" and not instance.wants_clean_gradient:
                    continue
                instance.zero_grad()
                if instance.wants_clean_gradient:
                    scaler.scale(loss_of() * (spoil if attempt == "pass A" else 1.0)).backward()
                    instance.ascend(grad_scale=scaler.get_scale())
                    if instance.non_finite:
                        instance.skip_step()
                        continue
                else:
                    instance.ascend()
                scaler.scale(loss_of() * (spoil if attempt == "pass B" else 1.0)).backward()
                instance.restore()
                instance.observe(grad_scale=scaler.get_scale())
                before = instance.steps
                scaler.step(instance)
                scaler.update()
                if instance.steps == before:
                    instance.skip_step()
    assert optimizer.steps == other.steps == 6
    for a, b in zip(model.parameters(), plain.parameters()):
        assert torch.allclose(a, b, atol=1e-6)


def test_a_one_cycle_scheduler_cycles_the_base_optimizer(data):
    model = nn.Linear(4, 1)
    optimizer = SAM(model.parameters(), torch.optim.Adam, lr=0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=10)
    rates = []
    for _ in range(9):

        def closure():
            optimizer.zero_grad()
            loss = (model(data[0]) - data[1]).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)
        scheduler.step()
        rates.append(optimizer.base_optimizer.param_groups[0]["lr"])
    assert max(rates) > 0.09 > rates[-1]


def test_a_loop_that_saves_in_between_sees_clean_weights(data):
    model = nn.Linear(4, 1)
    optimizer = MomentumSAM(model.parameters(), torch.optim.SGD, lr=0.0, momentum=0.9, rho=1.0)
    before = copy.deepcopy(model.state_dict())
    for _ in range(3):
        optimizer.train()
        optimizer.train()  # as in gradient accumulation: nothing more happens
        assert optimizer.perturbed == (optimizer.steps > 0)
        (model(data[0]) - data[1]).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_base_optimizer_with_modes_of_its_own():
    """As schedule-free optimizers have: train() and eval() reach it, in the order that keeps weights clean."""
    calls = []

    class TwoPoints(torch.optim.SGD):
        def train(self):
            calls.append(("train", optimizer.perturbed))

        def eval(self):
            calls.append(("eval", optimizer.perturbed))

    weight = nn.Parameter(torch.ones(3))
    optimizer = MomentumSAM([weight], TwoPoints, lr=0.1, momentum=0.9)
    for _ in range(2):
        optimizer.train()
        weight.square().sum().backward()
        optimizer.step()
    optimizer.train()
    assert optimizer.perturbed
    optimizer.eval()
    assert calls == [("train", False)] * 3 + [("eval", False)]


def lightning_like(optimizer, forward, batches, accumulate=1):
    """The order of calls of Lightning's automatic optimization: the closure of the last micro-batch goes to step()."""
    for i, (x, y) in enumerate(batches):

        def closure(i=i, x=x, y=y):
            loss = (forward(x) - y).square().mean() / accumulate
            if i % accumulate == 0:
                optimizer.zero_grad()
            loss.backward()
            return loss

        if (i + 1) % accumulate:
            closure()
        else:
            optimizer.step(closure)


@pytest.mark.parametrize("method", [SAM, GraphSAM])
def test_lightning_hands_over_a_closure(data, method):
    x, y = data
    batches = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 48, 8)]
    model = nn.Linear(4, 1)
    twin = copy.deepcopy(model)
    optimizer, other = (method(m.parameters(), torch.optim.SGD, lr=0.1) for m in (model, twin))
    for epoch in range(2):
        optimizer.set_epoch(epoch)
        other.set_epoch(epoch)
        lightning_like(optimizer, model, batches)
        for a, b in batches:

            def closure(a=a, b=b):
                other.zero_grad()
                loss = (twin(a) - b).square().mean()
                loss.backward()
                return loss

            other.step(closure)
    assert optimizer.steps == 12
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("method", [SAM, GraphSAM, MomentumSAM])
def test_micro_batches_outside_the_closure_are_refused(data, method):
    """They were taken at other weights than the last one: never trained wrongly in silence."""
    x, y = data
    batches = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 48, 8)]
    model = nn.Linear(4, 1)
    before = copy.deepcopy(model.state_dict())
    optimizer = method(model.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
    optimizer.set_epoch(0)
    with pytest.raises(
        InvalidArgumentError, match=r"closure adds to gradients that were there before.*accumulate_grad_batches=1"
    ):
        lightning_like(optimizer, model, batches, accumulate=2)
    assert (
        all(torch.equal(value, before[name]) for name, value in model.state_dict().items()) and not optimizer.perturbed
    )
    lightning_like(optimizer, model, batches[:1])  # what goes on afterwards is whole
    off = method(model.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9, rho=0.0)
    off.set_epoch(0)
    lightning_like(off, model, batches, accumulate=2)  # the base optimizer's step takes what there is
    assert off.steps == 3


@pytest.mark.parametrize("to_none", [True, False])
def test_gradients_that_the_closure_clears_may_lie_around(data, to_none):
    x, y = data
    models = [nn.Linear(4, 1) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    for model, disturbed in zip(models, (False, True), strict=True):
        optimizer = GraphSAM(model.parameters(), torch.optim.SGD, lr=0.1, anchor_every=3)
        for _ in range(5):
            if disturbed:
                model(x).square().sum().backward()  # somebody looks at gradients in between

            def closure(model=model, optimizer=optimizer):
                optimizer.zero_grad(set_to_none=to_none)
                loss = (model(x) - y).square().mean()
                loss.backward()
                return loss

            optimizer.step(closure)
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("method", [SAM, GraphSAM])
def test_lightning_itself(data, method):
    lightning = pytest.importorskip("lightning", reason="lightning is not installed")
    x, y = data

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(1)
            self.net, self.passes = nn.Linear(4, 1), 0

        def training_step(self, batch, index):
            self.passes += 1
            return (self.net(batch[0]) - batch[1]).square().mean()

        def on_train_epoch_start(self):
            self.optimizers().optimizer.set_epoch(self.current_epoch)

        def configure_optimizers(self):
            return method(self.net.parameters(), torch.optim.SGD, lr=0.1)

    def fit(**options):
        module = Module()
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=8)
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        lightning.Trainer(max_epochs=2, accelerator="cpu", enable_model_summary=False, **quiet, **options).fit(
            module, loader
        )
        return module

    module, twin = fit(), Module()
    other = twin.configure_optimizers()
    for epoch in range(2):
        other.set_epoch(epoch)
        lightning_like(other, twin.net, [(x[i : i + 8], y[i : i + 8]) for i in range(0, 48, 8)])
    assert module.passes == (24 if method is SAM else 14)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), twin.parameters(), strict=True))
    with pytest.raises(InvalidArgumentError, match="accumulate_grad_batches=1"):
        fit(accumulate_grad_batches=2)
