"""
The paper on MNIST: what the ELBO does to the codes, and what MMD does
======================================================================

Zhao, Song and Ermon (arXiv 1706.02262) measure how far the codes of a VAE leave the prior by the
log-determinant of their covariance, which is 0 for N(0, I). Trained with the ELBO it grows as the
training set shrinks; trained with MMD it stays near 0. A smaller network and fewer steps than the
paper's, about a quarter of an hour on one core; ``--full`` takes the paper's own, for a GPU.

The pictures are read from ``$SK_INFOVAE_DATA/mnist`` (the four idx.gz files), or else fetched from
OpenML. Without either, scikit-learn's digits take their place: they show the same, but the figures
do not compare with the paper's.
"""

import argparse
import gzip
import math
import os
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.lines import Line2D
from sklearn.datasets import fetch_openml, load_digits
from skorch.callbacks import Callback, LRScheduler
from torch import nn

from sk_infovae import InfoVAETransformer
from sk_infovae.divergences import MMD
from sk_infovae.likelihoods import Gaussian

# Beside the script; the gallery and a notebook have no __file__ and run in its folder.
OUTPUT = Path(globals().get("__file__", "here")).parent / "output"
parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--full", action="store_true", help="the paper's network and steps")
FULL = parser.parse_known_args()[0].full

WIDTHS = (64, 128, 1024) if FULL else (8, 16, 128)  # two convolutions, one fully connected
N_STEPS, RATE = (100_000, 1e-4) if FULL else (2_500, 1e-3)
SIZES = (500, 1_000, 5_000, 10_000, 50_000) if FULL else (500, 5_000, 50_000)
BATCH, N_CODES = 200, 10_000

# Read off the paper's figure, to about 0.15.
PUBLISHED_SIZES = (500, 1_000, 5_000, 10_000, 50_000)
PUBLISHED = {
    ("ELBO", "train"): (8.95, 7.7, 5.8, 4.5, 2.2),
    ("ELBO", "test"): (8.3, 6.85, 5.15, 4.2, 1.95),
    ("annealed ELBO", "train"): (9.8, 8.55, 6.45, 5.1, 2.5),
    ("annealed ELBO", "test"): (9.4, 8.1, 6.05, 4.75, 2.3),
    ("MMD", "train"): (0.0, 0.0, 0.0, 0.0, 0.0),
    ("MMD", "test"): (-1.4, -1.15, -0.75, -0.55, -0.3),
}


# %%
# Pixels between 0 and 1; the first N of the training pictures, and all 10,000 of the test.
def read_idx(folder):
    """Training and test pictures of the idx.gz files."""
    for name in ("train", "t10k"):
        with gzip.open(folder / f"{name}-images-idx3-ubyte.gz") as file:
            yield np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)


def stand_in():
    """As many pictures as MNIST has: scikit-learn's digits, enlarged and shifted at random."""
    small, random = load_digits().images * (255 / 16), np.random.default_rng(0)
    large = np.pad(small.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))
    for digits, n in ((large[:1500], 60_000), (large[1500:], 10_000)):
        shifts = random.integers(-2, 3, (n, 2))
        rows = random.integers(len(digits), size=n)
        moved = [np.roll(digits[i], shift, (0, 1)) for i, shift in zip(rows, shifts, strict=True)]
        yield np.stack(moved).reshape(n, 784)


def mnist():
    """Training and test pictures, float32 (n, 784), and where they are from."""
    folder = Path(os.environ.get("SK_INFOVAE_DATA", "nowhere"), "mnist")
    if folder.is_dir():
        pictures, source = read_idx(folder), "mnist of SK_INFOVAE_DATA"
    else:
        try:
            with warnings.catch_warnings(action="ignore"):  # of the retry
                X = fetch_openml("mnist_784", as_frame=False, n_retries=1, delay=0.1).data
            pictures, source = (X[:60_000], X[60_000:]), "mnist_784 of openml.org"
        except OSError:
            source = "scikit-learn's digits in place of MNIST, since openml.org can't be reached"
            pictures = stand_in()
    return *(p.astype(np.float32) / 255 for p in pictures), source


# %%
# The authors' networks, in their code's form: Xavier weights, and q(z|x) with a standard deviation
# between 0.1 and 1. The lower bound matters: codes that can't be sharp must lie far apart.
class BoundedStd(nn.Module):
    """Mean and log-variance with std = max(sigmoid(output), 0.1)."""

    def forward(self, outputs):
        """Keep the means, bound the rest."""
        mean, raw = outputs.chunk(2, dim=-1)
        return torch.cat([mean, 2 * nn.functional.logsigmoid(raw).clamp(min=math.log(0.1))], -1)


def xavier(*layers):
    """The layers in a row, with Xavier weights and no bias to begin with."""
    for layer in layers:
        if hasattr(layer, "weight"):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def encoder(n_inputs, n_components):
    """Two convolutions, one hidden layer."""
    a, b, hidden = WIDTHS
    return xavier(
        *(nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, a, 4, 2, 1), nn.LeakyReLU(0.1)),
        *(nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.1), nn.Flatten()),
        *(nn.Linear(49 * b, hidden), nn.LeakyReLU(0.1), nn.Linear(hidden, 2 * n_components)),
        BoundedStd(),
    )


def decoder(n_components, n_outputs):
    """The mirror image; a sigmoid keeps the mean of a pixel in [0, 1]."""
    a, b, hidden = WIDTHS
    return xavier(
        *(nn.Linear(n_components, hidden), nn.ReLU(), nn.Linear(hidden, 49 * b), nn.ReLU()),
        *(nn.Unflatten(1, (b, 7, 7)), nn.ConvTranspose2d(b, a, 4, 2, 1), nn.ReLU()),
        *(nn.ConvTranspose2d(a, 1, 4, 2, 1), nn.Flatten(), nn.Sigmoid()),
    )


# %%
# The three objectives. The paper's "mean-pixel likelihood + 50 MMD" is alpha = 1 and
# lambd = 50 * 784 here, where pixels are summed. Annealing weighs KL(q(z|x) || p(z)) by 0.01 for
# the first fifth of the steps.
class Anneal(Callback):
    """KL weight 0.01, then 1: alpha and lambd change between two batches."""

    def on_train_begin(self, net, **kwargs):
        """Count from 0."""
        self.step_ = 0

    def on_batch_begin(self, net, **kwargs):
        """Set the weights of this step."""
        first = self.step_ < N_STEPS / 5
        net.criterion_.alpha, net.criterion_.lambd = (0.99, 0.01) if first else (0.0, 1.0)
        self.step_ += 1


METHODS = {
    "ELBO": ({"alpha": 0.0, "lambd": 1.0}, []),
    "annealed ELBO": ({"alpha": 0.0, "lambd": 1.0}, [Anneal()]),
    "MMD": ({"alpha": 1.0, "lambd": 50.0 * 784}, []),
}


def train(method, X):
    """Fit the model of this method for N_STEPS steps at a constant rate."""
    weights, callbacks = METHODS[method]
    return InfoVAETransformer(
        5,
        **weights,
        # The paper's one draw of each q(z|x) is noisy; in few steps the Gaussians themselves tell
        # more. Both estimate the same D.
        divergence=MMD(bandwidth=12.5, estimator="samples" if FULL else "mixture"),
        # One noise per pixel, std at least 0.1, set to its optimum at every step: a noise that
        # Adam moves needs more steps than these to come down from its start.
        likelihood=Gaussian(scale="optimal", standardised=False, floor=0.01),
        encoder=encoder,
        decoder=decoder,
        max_epochs=max(1, N_STEPS // math.ceil(len(X) / BATCH)),
        batch_size=BATCH,
        lr=RATE,
        early_stopping=False,
        random_state=0,
        net_params={"callbacks": [*callbacks, LRScheduler("LambdaLR", lr_lambda=lambda epoch: 1)]},
    ).fit(X)


def log_det(vae, X, seed=0):
    """log det Cov of 10,000 codes drawn from q(z|x)."""
    random = np.random.default_rng(seed)
    mean, std = vae.posterior(X[:N_CODES])
    rows = np.resize(random.permutation(len(mean)), N_CODES)
    z = mean[rows] + std[rows] * random.standard_normal((N_CODES, mean.shape[1]))
    return np.linalg.slogdet(np.cov(z.T))[1]


# %%
# The table: log det Cov of q(z), ours and the published one; KL is the mean of
# KL(q(z|x) || p(z)) on the training rows, 0 if the codes say nothing.
X_train, X_test, source = mnist()
print(f"pictures: {source}\n")
models, figures = {}, {}
print(f"{'':14} {'N':>6}   {'train':>6} {'paper':>6}   {'test':>6} {'paper':>6}   {'KL':>5}   time")
for method in METHODS:
    for size in SIZES:
        start = time.perf_counter()
        vae = models[method, size] = train(method, X_train[:size])
        cells = []
        for split, X in (("train", X_train[:size]), ("test", X_test)):
            figures[method, split, size] = value = log_det(vae, X)
            published = PUBLISHED[method, split][PUBLISHED_SIZES.index(size)]
            cells.append(f"{value:6.2f} {published:6.2f}")
        seconds, kl = time.perf_counter() - start, vae.history_[-1]["kl"]
        print(
            f"{method:14} {size:6}   {'   '.join(cells)}   {kl:5.1f}   {seconds:.0f} s", flush=True
        )

# %%
# The same as a picture.
COLOURS = dict(zip(METHODS, ("C3", "C1", "C0"), strict=True))
figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), sharey=True, layout="constrained")
for ax, split in zip(axes, ("train", "test"), strict=True):
    ax.axhline(0, color="0.3", lw=1, ls=":")
    for method, colour in COLOURS.items():
        ours = [figures[method, split, size] for size in SIZES]
        ax.plot(SIZES, ours, "o-", color=colour, label=method)
        published = PUBLISHED[method, split]
        ax.plot(PUBLISHED_SIZES, published, "o--", color=colour, mfc="white", lw=0.8, alpha=0.8)
    ax.set(xscale="log", xlabel="training pictures", title=f"codes of {split} pictures")
    ax.set_xticks(PUBLISHED_SIZES, ["500", "1k", "5k", "10k", "50k"])
    ax.minorticks_off()
axes[0].set_ylabel("log det Cov of q(z)")
handles, _ = axes[0].get_legend_handles_labels()
paper = Line2D([], [], color="0.4", marker="o", mfc="white", ls="--", lw=0.8, label="the paper's")
prior = Line2D([], [], color="0.3", ls=":", lw=1, label="the prior's")
axes[1].legend(handles=[*handles, paper, prior])
OUTPUT.mkdir(exist_ok=True)
figure.savefig(OUTPUT / "paper_logdet.png", dpi=110)


# %%
# What it means for pictures: test digits, the same after encoding and decoding, and new digits
# decoded from the prior (means, without pixel noise).
def strip(rows):
    """Two rows of ten pictures as one."""
    return rows[:20].reshape(2, 10, 28, 28).transpose(0, 2, 1, 3).reshape(56, 280)


Z = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
shown = [("ELBO", SIZES[0]), ("MMD", SIZES[0]), ("ELBO", SIZES[-1]), ("MMD", SIZES[-1])]
figure, axes = plt.subplots(3, 4, figsize=(14, 2.8), layout="constrained")
for column, key in zip(axes.T, shown, strict=True):
    vae = models[key]
    back = vae.inverse_transform(vae.transform(X_test[:20]))
    for ax, rows in zip(column, (X_test, back, vae.inverse_transform(Z)), strict=True):
        ax.imshow(strip(np.asarray(rows)), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
    column[0].set_title(f"{key[0]}, {key[1]:,} pictures")
for ax, label in zip(axes[:, 0], ("test", "decoded", "from the\nprior"), strict=True):
    ax.set_ylabel(label, rotation=0, ha="right", va="center")
figure.savefig(OUTPUT / "paper_samples.png", dpi=110)
print(f"\npictures: {OUTPUT / 'paper_logdet.png'}, {OUTPUT / 'paper_samples.png'}")

# %%
# With the ELBO the codes leave the prior, the fewer the pictures the further; with a strong MMD
# they stay, and still say what a picture is.
