"""A grid trained as one batched network against scikit-learn's GridSearchCV over several fits.

    python benchmarks/bench_search.py                       # 60 fits, every side
    python benchmarks/bench_search.py --fits 240            # without the slow sides
    python benchmarks/bench_search.py --headline            # 240 together / 60 plain skorch
    python benchmarks/bench_search.py --growth              # per model, 1 to 128 together

4 values of alpha, 3 of lambd (12 for 240 fits), 5 folds of digits; hidden (128, 64), 8 components,
SiLU, batch 128, 30 epochs of Adam. The sides:

together    InfoVAEGridSearchCV
own         GridSearchCV(n_jobs=2) over InfoVAETransformer
own1        the same with n_jobs=1, all threads to each fit
skorch      GridSearchCV(n_jobs=2) over the InfoVAE that a user would write with skorch
            (`plain_skorch_vae.py`): default data set and loader, sampled MMD, input standardised
            beforehand
pythae      GridSearchCV(n_jobs=2) over pythae's INFOVAE_MMD and BaseTrainer (`pythae_vae.py`); left
            out where pythae is not installed
products    the matrix products of forward and backward alone, as batched products of the models
            that have one number of rows (two fifths and three fifths of the fits)

A constant stands for the score on every side, and nothing is refitted; the default score's time has
a line of its own. Medians of interleaved repeats. Each side runs an epoch or two first, so that
imports and the start of workers are not counted. joblib gives each of two workers half of the cores
as threads (printed), so that two fits never fight for one core; the other sides have all of them.
"""

import argparse
import importlib.util
import platform
import statistics
import time
from functools import partial

import joblib
import numpy as np
import sklearn
import skorch
import torch
from plain_skorch_vae import plain_skorch_vae
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.preprocessing import StandardScaler

from sk_infovae import InfoVAETransformer
from sk_infovae.model_selection import InfoVAEGridSearchCV

BATCH, ALPHA = 128, [0.0, 0.25, 0.5, 0.9]
LAYERS = [(64, 128), (128, 64), (64, 16), (8, 64), (64, 128), (128, 64), (8, 64)]
FOLDS = KFold(5)
GOALS = {
    (60, "products"): (1.7, "most"),
    (240, "products"): (1.5, "most"),
    (60, "skorch"): (6.0, "least"),
    (60, "own"): (2.0, "least"),
}
"""By number of fits and side: together over the products, and the others over together."""

TOO_SLOW = {"own1", "skorch", "pythae"}
"""Sides that more than 60 fits leave out unless they are asked for."""


def grid(n_pairs, prefix=""):
    """4 values of alpha, the rest of the pairs by lambd."""
    lambd = np.logspace(0, 2, max(1, n_pairs // len(ALPHA))).tolist()
    return {f"{prefix}alpha": ALPHA[:n_pairs], f"{prefix}lambd": lambd}


def no_score(estimator, X, y=None):
    """Nothing: scoring is timed apart."""
    return 0.0


def own_vae(n_epochs, device):
    """The estimator of this package."""
    return InfoVAETransformer(
        8,
        hidden_layer_sizes=(128, 64),
        batch_size=BATCH,
        max_epochs=n_epochs,
        early_stopping=False,
        random_state=0,
        device=device,
    )


def pythae_vae(n_epochs, device):
    """pythae's, imported only here."""
    from pythae_vae import PythaeVAE

    return PythaeVAE(n_epochs=n_epochs, batch_size=BATCH, device=device)


def search(cls, estimator, param_grid, X, cv=FOLDS, **params):
    """Search without score and refit; an error in a fit is raised."""
    cls(
        estimator, param_grid, cv=cv, scoring=no_score, refit=False, error_score="raise", **params
    ).fit(X)


def products(models, n_epochs, device):
    """The products alone for each number of models: one forward and two backward a layer."""
    n_steps = n_epochs * round(1437 / BATCH)
    for n_models in models:
        draw = partial(torch.randn, device=device)
        work = [
            (draw(n_models, BATCH, a), draw(n_models, a, b), draw(n_models, BATCH, b))
            for a, b in LAYERS
        ]
        for _ in range(n_steps):
            for x, w, g in work:
                torch.bmm(x, w)
                torch.bmm(x.mT, g)
                torch.bmm(g, w.mT)
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def make_sides(n_fits, device):
    """Each side as a function of the number of epochs."""
    X, n_pairs = load_digits().data, n_fits // 5
    scaled = StandardScaler().fit_transform(X).astype(np.float32)

    def own(n_epochs, cls=GridSearchCV, **params):
        search(cls, own_vae(n_epochs, device), grid(n_pairs), X, **params)

    def plain(n_epochs):
        vae = plain_skorch_vae(n_epochs, BATCH, device)
        search(GridSearchCV, vae, grid(n_pairs, "criterion__"), scaled, n_jobs=2)

    def pythae(n_epochs):
        search(GridSearchCV, pythae_vae(n_epochs, device), grid(n_pairs), scaled, n_jobs=2)

    return {
        "together": partial(own, cls=InfoVAEGridSearchCV),
        "own": partial(own, n_jobs=2),
        "own1": own,
        "skorch": plain,
        "pythae": pythae,
        "products": lambda n_epochs: products(
            (2 * n_pairs, 3 * n_pairs), n_epochs=n_epochs, device=device
        ),
    }


def interleave(sides, n_epochs, repeats):
    """Median seconds of each side."""
    times = {name: [] for name in sides}
    for run in sides.values():
        run(1)
    for _ in range(repeats):
        for name, run in sides.items():
            start = time.perf_counter()
            run(n_epochs)
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def print_sides(arguments):
    """The table of all sides, and the score's time."""
    sides, chosen = make_sides(arguments.fits, arguments.device), arguments.sides
    if chosen is None:
        chosen = [name for name in sides if arguments.fits <= 60 or name not in TOO_SLOW]
    if "pythae" in chosen and importlib.util.find_spec("pythae") is None:
        print("pythae is not installed: left out")
        chosen = [name for name in chosen if name != "pythae"]
    medians = interleave(
        {name: sides[name] for name in chosen}, arguments.epochs, arguments.repeats
    )
    print(f"{arguments.fits} fits   seconds   / together   / products")
    for name, seconds in medians.items():
        ratios = [seconds / medians.get(other, np.nan) for other in ("together", "products")]
        print(f"{name:10} {seconds:8.1f} {ratios[0]:12.2f} {ratios[1]:12.2f}")
    print_goals(arguments.fits, medians)
    print_score(arguments)


def print_goals(n_fits, medians):
    """Whether the goals are met."""
    for side, seconds in medians.items():
        goal, kind = GOALS.get((n_fits, side), (None, None))
        if goal is None or "together" not in medians:
            continue
        ratio = seconds / medians["together"]
        ratio = 1 / ratio if kind == "most" else ratio
        met = ratio <= goal if kind == "most" else ratio >= goal
        print(f"{side}: {ratio:.2f}, goal at {kind} {goal:g}: {'met' if met else 'missed'}")


def print_score(arguments):
    """Seconds of the default score of one fit on one fold."""
    X = load_digits().data
    train, test = next(FOLDS.split(X))
    vae, times = own_vae(arguments.epochs, arguments.device).fit(X[train]), []
    for _ in range(3):
        start = time.perf_counter()
        vae.score(X[test])
        times.append(time.perf_counter() - start)
    seconds = statistics.median(times)
    print(f"default score: {seconds:.2f} s a fit ({len(test)} rows), in no figure above")


def print_headline(arguments):
    """240 fits together against 60 of the plain skorch VAE."""
    sides = {
        "240 together": make_sides(240, arguments.device)["together"],
        "60 plain skorch, n_jobs=2": make_sides(60, arguments.device)["skorch"],
    }
    medians = interleave(sides, arguments.epochs, arguments.repeats)
    for name, seconds in medians.items():
        print(f"{name:26} {seconds:8.1f} s")
    together, plain = medians.values()
    print(f"240 together / 60 plain skorch, n_jobs=2: {together / plain:.2f}")


def print_growth(arguments):
    """Seconds a model when more models train together."""
    X = load_digits().data
    split = [next(FOLDS.split(X))]
    print("models   seconds a model   of the products   ratio")
    for n_models in arguments.models:
        pairs = {"alpha": np.linspace(0, 0.9, n_models).tolist(), "lambd": [10.0]}

        def together(n_epochs, pairs=pairs):
            vae = own_vae(n_epochs, arguments.device)
            search(InfoVAEGridSearchCV, vae, pairs, X, cv=split)

        floor = partial(products, (n_models,), device=arguments.device)
        sides = {"together": together, "products": floor}
        medians = interleave(sides, arguments.epochs, arguments.repeats)
        ours, base = (seconds / n_models for seconds in medians.values())
        print(f"{n_models:6} {ours:17.3f} {base:17.3f} {ours / base:7.2f}")


def print_machine(device):
    """What the figures were measured on."""
    inner = joblib.Parallel(n_jobs=2)(joblib.delayed(torch.get_num_threads)() for _ in range(2))
    name = torch.cuda.get_device_name() if torch.device(device).type == "cuda" else "cpu"
    print(
        f"{joblib.cpu_count()} cores, device {name}; torch threads: {torch.get_num_threads()}, "
        f"in each of two workers {max(inner)}; Python {platform.python_version()}, torch "
        f"{torch.__version__}, scikit-learn {sklearn.__version__}, skorch {skorch.__version__}"
    )


def main():
    """Print what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fits", type=int, default=60, help="a multiple of 20")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--sides", nargs="+", choices=list(make_sides(20, "cpu")))
    parser.add_argument("--headline", action="store_true")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--models", nargs="+", type=int, default=[2**k for k in range(8)])
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if arguments.fits % 20:
        parser.error("--fits must be a multiple of 20: 4 values of alpha, 5 folds")
    print_machine(arguments.device)
    if arguments.headline:
        print_headline(arguments)
    if arguments.growth:
        print_growth(arguments)
    if not (arguments.headline or arguments.growth):
        print_sides(arguments)


if __name__ == "__main__":
    main()
