"""
Which alpha? Ask the score, not the ELBO
========================================

A search over alpha on digits by three criteria: the score (importance sampling with a proposal
from the decoder), plain importance sampling from q(z|x), and the ELBO. The last two trust the
encoder, which is narrower than the true posterior as soon as alpha > 0, so they rank alpha = 0
first whatever the model is worth. About three minutes on two cores.
"""

import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.preprocessing import StandardScaler

from sk_infovae import InfoVAETransformer

# Beside the script; the gallery and a notebook have no __file__ and run in its folder.
OUTPUT = Path(globals().get("__file__", "here")).parent / "output"
ALPHAS = [0.0, 0.25, 0.5, 0.75, 0.9]


# %%
# The two criteria that trust q(z|x). X is standardised here, so the units of x and X agree up to
# the last digits of the scaling, which `score` takes into account and these two leave out.
def draws_from_encoder(vae, X, n_draws):
    """log p(x, z) - log q(z|x) and log p(x|z) for draws z from q(z|x)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.as_tensor(X, dtype=torch.float32)
    with torch.no_grad():
        q = vae.module_.encode(x)
        noise = torch.randn((n_draws, *q.mean.shape), generator=generator)
        z = q.rsample(noise)
        log_px = vae.module_.likelihood.log_prob(x, vae.module_.decoder(z))
        log_ratio = 0.5 * (noise.square() - z.square() + q.log_variance).sum(-1)
    return log_px + log_ratio, log_px, q.kl()


def elbo(vae, X, y=None):
    """E log p(x|z) - KL(q(z|x) || p(z))."""
    _, log_px, kl = draws_from_encoder(vae, X, 32)
    return float((log_px.mean(0) - kl).mean())


def plain_importance_sampling(vae, X, y=None):
    """log mean p(x, z) / q(z|x) over 512 draws from q(z|x)."""
    weights, _, _ = draws_from_encoder(vae, X, 512)
    return float((weights.logsumexp(0) - math.log(512)).mean())


def score(vae, X, y=None):
    """The estimator's own score."""
    return vae.score(X)


# %%
# Digits with uniform noise that spreads each grey level over its interval, standardised.
X = load_digits().data
X = X[:, X.std(0) > 0.3]
X = StandardScaler().fit_transform(X + np.random.default_rng(0).uniform(size=X.shape))

criteria = {
    "score": score,
    "plain importance sampling": plain_importance_sampling,
    "ELBO": elbo,
}
search = GridSearchCV(
    InfoVAETransformer(16, lambd=10, random_state=0),
    {"alpha": ALPHAS},
    scoring=criteria,
    refit="score",
    cv=ShuffleSplit(3, test_size=0.25, random_state=0),
    n_jobs=2,
).fit(X)

# %%
# Nats per sample on held-out rows; the best of each column is marked.
columns = {name: search.cv_results_[f"mean_test_{name}"] for name in criteria}
print("alpha   " + "   ".join(f"{name:>26}" for name in columns))
for i, alpha in enumerate(ALPHAS):
    cells = [f"{c[i]:.2f}{' *' if i == c.argmax() else '  '}" for c in columns.values()]
    print(f"{alpha:5}   " + "   ".join(f"{cell:>26}" for cell in cells))

figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
for name, values in columns.items():
    errors = search.cv_results_[f"std_test_{name}"] / math.sqrt(3)
    line = ax.errorbar(ALPHAS, values, errors, marker="o", capsize=3, label=name)
    best = values.argmax()
    ax.plot(ALPHAS[best], values[best], "*", ms=17, color=line[0].get_color())
ax.set(
    xlabel="alpha",
    ylabel="held-out nats per sample",
    title="Digits, 16 components: what each criterion prefers (star)",
    ylim=(min(columns["score"]) - 14, max(columns["score"]) + 2),
)
ax.legend()
OUTPUT.mkdir(exist_ok=True)
figure.savefig(OUTPUT / "choose_alpha.png", dpi=110)
print(f"\npicture: {OUTPUT / 'choose_alpha.png'}")

# %%
# The score has its best value inside, at alpha = 0.25; the ELBO and plain importance sampling end
# at alpha = 0, where the encoder's gap is least, whatever the decoder is worth.
