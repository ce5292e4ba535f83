"""Which columns of Adult does the model learn? Gain of the reconstruction over a constant model.

    python benchmarks/balance_adult.py [--components 8] [--epochs 60] [--rows N] [--alpha A]
        [--lambd L] [--gaussian learned]

Prints for each column, on the official test rows, in nats a cell: the loss of the best constant
model (entropy of the training frequencies; of a number 0), that of the reconstruction from the
mean of q(z|x), and the gain, of a number 0.5 log(variance / mean squared error), negative where
the mean alone would be better; and how many nats there are to gain. A column with a gain of about
0 is not learned. --gaussian gives numbers "learned" or "optimal" noise, or a fixed scale.
"""

import argparse

import numpy as np
import torch
from tables import adult

from sk_infovae import InfoVAETransformer
from sk_infovae.likelihoods import Gaussian


def probabilities(model, Z):
    """Every block's mean, by column: probabilities of levels, or the expected number."""
    likelihood, names = model.module_.likelihood, model._layout.schema.names
    with torch.no_grad():
        means = likelihood.mean(model.module_.decoder(torch.from_numpy(Z)))
    found = {}
    for block, mean in zip(likelihood.blocks(), means, strict=True):
        for k, j in enumerate(block.columns.tolist()):
            width = mean.shape[1] // len(block.columns)
            found[names[j]] = mean[:, k * width : (k + 1) * width].numpy()
    return found


def gains(model, train, test):
    """Name, constant loss, reconstruction loss and gain of every column."""
    Z = model.transform(test)
    expected = probabilities(model, Z)
    schema, standardizer = model._layout.schema, model._layout.standardizer
    codes, old = schema.encode(test, "missing"), schema.encode(train)
    for j, name in enumerate(schema.names):
        seen = ~np.isnan(codes[:, j])
        x, p = codes[seen, j], expected[name][seen]
        if p.shape[1] == 1:
            mean = standardizer.decode(np.repeat(p, codes.shape[1], 1))[:, j]
            mse = np.mean((x - mean) ** 2)
            spread = np.mean((x - np.nanmean(old[:, j])) ** 2)
            yield name, 0.0, 0.5 * np.log(mse / spread)
        else:
            counts = np.bincount(old[~np.isnan(old[:, j]), j].astype(int), minlength=p.shape[1])
            x = x.astype(int)
            constant = -np.log((counts / counts.sum())[x]).mean()
            yield name, constant, -np.log(p[np.arange(len(x)), x].clip(1e-12)).mean()


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--components", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--lambd", type=float, default=10.0)
    parser.add_argument("--gaussian", default="learned")
    arguments = parser.parse_args()
    train, _ = adult("train", arguments.rows)
    test, _ = adult("test")
    numbers = train.select_dtypes("number").columns
    scale = arguments.gaussian
    noise = Gaussian(scale if scale in ("learned", "optimal") else float(scale))
    model = InfoVAETransformer(
        arguments.components,
        alpha=arguments.alpha,
        lambd=arguments.lambd,
        likelihood=dict.fromkeys(numbers, noise),
        max_epochs=arguments.epochs,
        batch_size=256,
        random_state=0,
    ).fit(train)
    print(f"{model.n_iter_} epochs; {len(train)} rows; loss {model.history_[-1]['valid_loss']:.3f}")
    print("column            constant   reconstruction     gain")
    for name, constant, reconstructed in gains(model, train, test):
        gain = constant - reconstructed
        print(f"{name:16} {constant:9.3f} {reconstructed:16.3f} {gain:8.3f}")


if __name__ == "__main__":
    main()
