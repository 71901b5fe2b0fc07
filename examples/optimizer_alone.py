"""GraphSAM in a plain PyTorch loop: any model, any base optimizer, no molecules.

    python examples/optimizer_alone.py

``--tiny`` takes two epochs. Printed are the loss of Adam and of GraphSAM on the same data from the same start.
"""

from __future__ import annotations

import argparse

import torch

from dc_graphsam.optim import GraphSAM


def train(optimizer_of, epochs: int) -> float:
    """Fit a small network to a wave; return the mean squared error at the end."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(1, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    x = torch.linspace(-3, 3, 256)[:, None]
    y = torch.sin(2 * x)
    optimizer = optimizer_of(model.parameters())
    for epoch in range(epochs):
        if isinstance(optimizer, GraphSAM):
            optimizer.set_epoch(epoch)  # the next step is the first of this epoch
        for batch in torch.randperm(256).split(32):

            def closure(batch=batch):
                optimizer.zero_grad()
                loss = torch.nn.functional.mse_loss(model(x[batch]), y[batch])
                loss.backward()
                return loss

            optimizer.step(closure)
    with torch.no_grad():
        return float(torch.nn.functional.mse_loss(model(x), y))


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args(arguments)
    epochs = 2 if given.tiny else 100
    losses = {
        "Adam": train(lambda weights: torch.optim.Adam(weights, lr=1e-2), epochs),
        "GraphSAM": train(lambda weights: GraphSAM(weights, torch.optim.Adam, lr=1e-2, rho=0.05), epochs),
    }
    for name, loss in losses.items():
        print(f"{name:10} mean squared error {loss:.4f}")
    return losses


if __name__ == "__main__":
    main()
