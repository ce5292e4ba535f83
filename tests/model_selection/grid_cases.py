"""Grids over any parameter of the constructor, and tables that differ between the folds."""

from functools import partial

import numpy as np
import pandas as pd
import torch
from hypothesis import strategies as st
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, ShuffleSplit
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch.callbacks import GradientNormClipping
from torch import nn

from sk_infovae import InfoVAETransformer, metrics
from sk_infovae.divergences import KL, KSD, MMD, Adversarial, SlicedWasserstein
from sk_infovae.likelihoods import Categorical, Gaussian, LogNormal, Poisson, StudentT

N_ROWS = 24
Y = np.arange(N_ROWS) % 2
NAMES = ("size", "rooms", "rate", "town", "grade", "flag")


def thin_encoder(n_inputs, n_components, width=3):
    return nn.Sequential(nn.Linear(n_inputs, width), nn.Tanh(), nn.Linear(width, 2 * n_components))


def thin_decoder(n_components, n_outputs):
    return nn.Linear(n_components, n_outputs)


# What each parameter may be. Several hold values that some fits refuse, and one (alpha) a value
# that all refuse: a candidate's failure is to cost itself only, on both sides.
ANYWHERE = {
    "alpha": [0.0, 0.5, 0.9, 1.0, 1.5],
    "lambd": [1.0, 10.0, 300.0],
    "neighbor_weight": [0.0, 1.0, 30.0],
    "n_neighbors": [1, 4, 100],
    "n_components": [1, 2, 3],
    "lr": [1e-4, 1e-3, 1e-2],
    "batch_size": [4, 7, 32],
    "max_epochs": [1, 3],
    "hidden_layer_sizes": [(), (4,), (3, 5), [4]],
    "activation": ["silu", "tanh", "softplus", nn.LeakyReLU],
    "random_state": [0, 1, 2],
    "n_importance_samples": [2, 4, 8],
    "tol": [0.0, 1e-3, 1e6],
    "n_iter_no_change": [1, 2],
    "validation_fraction": [0.02, 0.2, 0.5],
    "early_stopping": [True, False],
    "handle_unknown": ["missing", "error"],
    "text_features": ["drop", "error"],
    "warm_start": [True, False],
    "encoder": [None, thin_encoder, partial(thin_encoder, width=2)],
    "decoder": [None, thin_decoder],
    "divergence": [
        "mmd",
        "kl",
        "ksd",
        "sliced_wasserstein",
        "adversarial",
        MMD("imq"),
        MMD(bandwidth=(0.5, 2.0)),
        MMD(estimator="mixture", bandwidth=0.5),
        MMD(bandwidth=-1.0),
        KSD("gaussian", bandwidth=2.0),
        SlicedWasserstein(3),
        Adversarial((3,), gradient_penalty=0.0),
        KL(),
    ],
    "net_params": [
        None,
        {},
        {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.5},
        {"optimizer": torch.optim.AdamW, "optimizer__weight_decay": 0.1},
        {"optimizer__weight_decay": 10.0},
        {"callbacks": [GradientNormClipping(gradient_clip_value=0.1)]},
        {"iterator_train__drop_last": True},
        {"iterator_train__shuffle": False},
        {"optimizer": "nonsense"},
    ],
}

OF_MMD = {
    "divergence__bandwidth": [None, 0.5, 4.0, (0.5, 2.0)],
    "divergence__kernel": ["gaussian", "imq"],
    "divergence__estimator": ["samples", "mixture"],
}


def likelihoods_of(names):
    """Choices by column, of a number, a count and a rate, whatever they are called."""
    size, rooms, rate = names[:3]
    return [
        "auto",
        "student_t",
        "poisson",
        Gaussian(scale=0.5),
        Gaussian(shared=True, floor=1e-2),
        Gaussian(scale="optimal"),
        {size: "student_t"},
        {rooms: Poisson(offset="total"), rate: Poisson(offset="total")},
        {rooms: "poisson"},
        {rate: "poisson"},
        {rooms: "negative_binomial", rate: "lognormal"},
        {rooms: "lognormal", rate: "negative_binomial"},
        {rooms: "categorical", size: StudentT(floor=1e-2)},
        {rooms: Categorical(max_outputs=2)},
        {rate: LogNormal(floor=1e-2), rooms: Poisson()},
        {rooms: "ordinal"},
    ]


def categories_of(names):
    return ["from_dtype", None, [names[1]], [names[2]], [name == names[1] for name in names]]


# Tables


def number_table(trouble, hit):
    """A number and two counts; the rows of one fold differ as the trouble says."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=N_ROWS), rng.poisson(3, N_ROWS), rng.poisson(8, N_ROWS)])
    X += np.array([0.0, 1.0, 1.0])
    rows = np.array_split(np.arange(N_ROWS), 3)[hit]
    others = np.setdiff1d(np.arange(N_ROWS), rows)
    if trouble == "holes":
        X[rows[::2], 0] = X[rows[1], 1] = np.nan
    elif trouble == "level":
        X[rows[0], 1] = 40.0
    elif trouble == "outlier":
        # Far enough to be drawn in; farther out, float32 loses the other rows' digits in the loss.
        X[rows[3], rng.integers(3)] = 1e3
    elif trouble == "constant":
        X[rows, 2] = 5.0
    elif trouble == "constant elsewhere":
        X[others, 2] = 5.0
    elif trouble == "holes everywhere":
        X[rng.uniform(size=X.shape) < 0.15] = np.nan
    return X


def frame(trouble, hit):
    """The numbers, and categories, an order and a boolean, of which one fold may hold its own."""
    rng = np.random.default_rng(1)
    numbers = number_table(trouble, hit)
    rows = np.array_split(np.arange(N_ROWS), 3)[hit]
    town = rng.choice(["north", "south"], N_ROWS).astype(object)
    grade = rng.integers(0, 2, N_ROWS)
    if trouble == "level":
        town[rows[1]], grade[rows[2]] = "west", 2
    if trouble == "holes":
        town[rows[0]] = None
    if trouble == "constant":
        town[rows] = "north"
    if trouble == "constant elsewhere":
        town[np.setdiff1d(np.arange(N_ROWS), rows)] = "north"
    grades = pd.CategoricalDtype(["low", "mid", "high"], ordered=True)
    X = pd.DataFrame(numbers, columns=list(NAMES[:3]))
    X["town"] = pd.Series(town, dtype="str" if hit else "category")
    X["grade"] = pd.Series(pd.Categorical.from_codes(grade, dtype=grades))
    X["flag"] = rng.uniform(size=N_ROWS) < 0.5
    return X


TROUBLES = ["none", "holes", "holes everywhere", "level", "outlier", "constant"]
TROUBLES += ["constant elsewhere", "outlier", "outlier"]


@st.composite
def tables(draw):
    """An array, a CSR matrix or a frame."""
    kind = draw(st.sampled_from(["float64", "float64", "float32", "csr", "frame", "frame"]))
    trouble, hit = draw(st.sampled_from(TROUBLES)), draw(st.sampled_from([0, 0, 1, 2]))
    if kind == "frame":
        return frame(trouble, hit)
    X = number_table(trouble, hit)
    return sparse.csr_matrix(X) if kind == "csr" else X.astype(kind)


# Searches


def small(**params):
    defaults = {"hidden_layer_sizes": (4,), "max_epochs": 2, "batch_size": 8, "random_state": 0}
    return InfoVAETransformer(2, **{"n_importance_samples": 4, **defaults, **params})


SCORINGS = [
    None,
    metrics.elbo,
    metrics.neg_reconstruction_error,
    {"mi": metrics.mutual_information, "mmd": metrics.neg_mmd},
    {
        "elbo": metrics.elbo,
        "ll": metrics.log_likelihood,
        "error": metrics.neg_reconstruction_error,
        "r2": metrics.reconstruction_r2,
    },
]
CVS = [KFold(2), KFold(3), KFold(3), ShuffleSplit(2, test_size=0.25, random_state=0)]


KINDRED = ["poisson", "categorical", "student_t", "ordinal", "lognormal", Gaussian(shared=True)]


def choices(values, most, columns=()):
    """Some values of a parameter; or one family for a different column in each."""
    some = st.lists(st.sampled_from(values), min_size=2, max_size=most, unique_by=repr)
    if not columns:
        return some
    kindred = st.sampled_from(KINDRED).map(lambda one: [{name: one} for name in columns[:3]])
    return st.one_of(kindred, some)


@st.composite
def searches(draw):
    """Estimator, grid, table and the search's own arguments."""
    X = draw(tables())
    names = list(X.columns) if isinstance(X, pd.DataFrame) else [0, 1, 2]
    values = {
        **ANYWHERE,
        "likelihood": likelihoods_of(names),
        "categorical_features": categories_of(names),
    }
    base = {}
    if draw(st.booleans()):
        base["divergence"] = MMD()
        values |= OF_MMD
    # Which columns a choice is for, and which rows are far out, is what stacks most easily mix up.
    anything = st.lists(st.sampled_from([*values]), min_size=1, max_size=3, unique=True)
    by_column = (["likelihood"], ["likelihood", "alpha"], ["categorical_features"])
    chosen = draw(st.one_of(anything, st.sampled_from(by_column), anything))
    sizes = {1: [4], 2: [3, 2], 3: [2, 2, 2]}[len(chosen)]
    grid = {
        name: draw(choices(values[name], most, names if name == "likelihood" else ()))
        for name, most in zip(chosen, sizes, strict=True)
    }
    estimator, grid = draw(placed(small(**base), grid, X))
    return (
        estimator,
        grid,
        X,
        {
            "cv": draw(st.sampled_from(CVS)),
            "scoring": draw(st.sampled_from(SCORINGS if estimator_ends(estimator) else [None])),
            "return_train_score": draw(st.booleans()),
        },
    )


def estimator_ends(estimator):
    """Whether the scorers find the vae at the end; a classifier has a score of its own."""
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    return isinstance(last, InfoVAETransformer)


@st.composite
def placed(draw, vae, grid, X):
    """Bare, behind a step, or before a classifier too."""
    kind = draw(st.sampled_from(["bare", "bare", "behind", "before a classifier"]))
    if kind == "bare":
        return vae, grid
    scaler = StandardScaler(with_mean=not sparse.issparse(X))
    steps = [("before", FunctionTransformer() if isinstance(X, pd.DataFrame) else scaler)]
    steps.append(("vae", vae))
    if kind == "before a classifier":
        steps.append(("after", LogisticRegression()))
    return Pipeline(steps), {f"vae__{name}": grid[name] for name in grid}
