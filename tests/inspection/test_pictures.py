"""Every Display draws fixed data as it did in ``pictures/``.

Each minor version of matplotlib may set text and lines a little differently, so pictures are
compared under the one that drew them, ``MADE_WITH``. After a change that is meant,

    python tests/inspection/test_pictures.py

draws all of them anew. Look at each picture before you commit it.
"""

import sys
from dataclasses import fields
from functools import partial
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.testing.compare import compare_images

from sk_infovae.inspection import (
    GeneratedDisplay,
    HistoryDisplay,
    Information,
    InformationDisplay,
    LatentDisplay,
    LatentTraversalDisplay,
    LoadingsDisplay,
    ReconstructionDisplay,
    TradeoffDisplay,
)

MADE_WITH = "3.11"
VERSION = ".".join(mpl.__version__.split(".")[:2])
TOLERANCE = 4
"""Root mean square over pixels and channels, of 255; smoothed edges of text differ by less."""

FOLDER = Path(__file__).parent / "pictures"
SETTINGS = {"figure.dpi": 50, "savefig.dpi": 50}

of_this_version = pytest.mark.skipif(
    VERSION != MADE_WITH,
    reason=f"matplotlib {MADE_WITH} drew the pictures, this is {VERSION}",
)


def latent_classes(rng, classes=(0, 1, 2)):
    centres = np.array([[-1.2, 0.0], [1.0, 0.8], [0.4, -1.3]]).repeat(20, axis=0)
    return LatentDisplay(
        codes=rng.normal(centres, 0.4),
        names=["component 1", "component 2"],
        y=np.repeat(classes, 20),
        deviations=rng.uniform(0.1, 0.3, (60, 2)),
    ).plot(n_ellipses=12, label="class")


def latent_values(rng):
    codes = rng.normal(size=(60, 3))
    y = codes @ [1.0, -0.5, 0.2]
    y[::10] = np.nan
    names = [f"component {k}" for k in (1, 2, 3)]
    return LatentDisplay(codes=codes, names=names, y=y).plot(label="price")


def latent_histogram(rng):
    return LatentDisplay(
        codes=rng.normal(np.repeat([-1.0, 0.8], 30)[:, None], 0.6),
        names=["component 1"],
        y=np.repeat(["first", "second"], 30),
    ).plot()


def latent_against_values(rng):
    codes = rng.normal(size=(60, 1))
    return LatentDisplay(
        codes=codes,
        names=["component 1"],
        y=codes[:, 0] + rng.normal(scale=0.5, size=60),
        deviations=rng.uniform(0.1, 0.3, (60, 1)),
    ).plot(n_ellipses=12, label="price")


def history(rng):
    epochs = np.arange(1, 21)
    curves = {"epoch": epochs}
    for name in ("loss", "reconstruction", "kl", "divergence"):
        fall = np.exp(-epochs / rng.uniform(2, 8))
        curves[name] = fall + rng.normal(scale=0.02, size=20)
        curves[f"valid_{name}"] = fall + 0.1 + 0.0005 * epochs**2 + rng.normal(scale=0.02, size=20)
    rows = zip(*curves.values(), strict=True)
    return HistoryDisplay(history=[dict(zip(curves, row, strict=True)) for row in rows]).plot()


def information(rng):
    by_dimension = np.sort(rng.uniform(0, 2, 5))[::-1]
    kl, part = by_dimension.sum(), rng.uniform(0.5, 0.9)
    unseen = dict.fromkeys((field.name for field in fields(Information)), 0)
    drawn = {
        "kl": kl,
        "kl_per_dimension": by_dimension,
        "active_units": 4,
        "mutual_information": part * kl,
        "marginal_kl": (1 - part) * kl,
        "mutual_information_cap": np.log(200),
    }
    return InformationDisplay(information=Information(**(unseen | drawn))).plot()


def reconstruction_errors(rng):
    return ReconstructionDisplay(
        errors=np.sort(rng.uniform(0.1, 1.3, 6))[::-1],
        columns=[f"column {k}" for k in range(6)],
        of_levels=np.arange(6) % 3 == 2,
    ).plot()


def reconstruction_pictures(rng):
    rows = rng.uniform(size=(5, 6, 6))
    return ReconstructionDisplay(
        errors=np.empty(0),
        columns=[],
        of_levels=np.empty(0, dtype=bool),
        pictures=np.stack([rows, 0.7 * rows + 0.15]),
    ).plot()


def traversal_curves(rng):
    steps = np.linspace(-2, 2, 9)
    length, width, weight = rng.normal(size=(3, 9)).cumsum(axis=1)
    kind = np.where(steps < 0.7, "short", "long")
    values = [[("length", length), ("width", width)], [("weight", weight), ("kind", kind)]]
    return LatentTraversalDisplay(
        steps=steps, dimensions=[0, 1], values=values, levels={"kind": ["short", "long"]}
    ).plot()


def traversal_pictures(rng):
    steps = np.linspace(-2, 2, 5)
    centre, moves = rng.normal(size=(6, 6)), rng.normal(size=(2, 1, 6, 6))
    pictures = centre + steps[:, None, None] * moves
    return LatentTraversalDisplay(
        steps=steps, dimensions=[0, 2], values=[], pictures=pictures
    ).plot()


def loadings(rng):
    return LoadingsDisplay(
        loadings=rng.uniform(-1, 1, (6, 3)),
        columns=[f"column {k}" for k in range(6)],
        shares=np.array([0.5, 0.3, 0.1]),
    ).plot()


def candidates(rng):
    axes = np.meshgrid([0.0, 0.3, 0.6, 0.9], [1.0, 10.0], [1.0, 2.0])
    table = dict(zip(("alpha", "lambd", "n_components"), map(np.ravel, axes), strict=True))
    return table | {"mean": rng.normal(size=16), "std": rng.uniform(0.1, 0.3, 16)}


def tradeoff_over_weights(rng):
    return TradeoffDisplay(table=candidates(rng), criterion="log_likelihood").plot()


def tradeoff_against(rng):
    table = candidates(rng) | {"against": rng.uniform(0, 3, 16)}
    return TradeoffDisplay(table=table, criterion="distortion", against="rate").plot()


def cells(rng):
    """Two numbers, and levels between them of which some are missing."""
    length = rng.normal(size=80)
    kind = rng.choice([0, 1, 2, np.nan], 80, p=[0.4, 0.3, 0.2, 0.1])
    return np.column_stack([length, kind, length + rng.normal(size=80)])


def generated(rng):
    return GeneratedDisplay(
        real=cells(rng),
        generated=cells(rng),
        columns=["length", "kind", "width"],
        levels=[None, ["low", "middle", "high"], None],
    ).plot(n_columns=2)


MAKERS = (
    latent_classes,
    latent_values,
    latent_histogram,
    latent_against_values,
    history,
    information,
    reconstruction_errors,
    reconstruction_pictures,
    traversal_curves,
    traversal_pictures,
    loadings,
    tradeoff_over_weights,
    tradeoff_against,
    generated,
)
PICTURES = {make.__name__: (make, "default") for make in MAKERS} | {
    "latent_classes_dark": (latent_classes, "dark_background")
}


def draw(path, make, style, seed=0):
    with plt.style.context(["default", style, SETTINGS]):
        figure = make(np.random.default_rng(seed)).figure_
        figure.savefig(path, metadata={"Software": None})
        plt.close(figure)
    return path


def difference(name, path):
    """What is wrong with a picture, or None."""
    return compare_images(FOLDER / f"{name}.png", path, TOLERANCE)


@of_this_version
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_as_it_was(name, tmp_path):
    assert difference(name, draw(tmp_path / "now.png", *PICTURES[name])) is None


@of_this_version
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_of_other_data_differs(name, tmp_path):
    path = draw(tmp_path / "other.png", *PICTURES[name], seed=1)
    assert difference(name, path) is not None


@of_this_version
def test_swapped_classes_differ(tmp_path):
    swapped = partial(latent_classes, classes=(1, 0, 2))
    path = draw(tmp_path / "swapped.png", swapped, "default")
    assert difference("latent_classes", path) is not None


def test_pictures_are_those_of_this_file_and_of_the_pinned_version():
    """Else one is never looked at, or all of them are skipped for good."""
    assert {path.stem for path in FOLDER.glob("*.png")} == set(PICTURES)
    pinned = (Path(__file__).parents[2] / "constraints.txt").read_text()
    assert f"\nmatplotlib=={MADE_WITH}." in pinned


def main():
    if VERSION != MADE_WITH:
        sys.exit(f"This is matplotlib {VERSION}: set MADE_WITH to it, and constraints.txt.")
    mpl.use("Agg")
    FOLDER.mkdir(exist_ok=True)
    for name, picture in PICTURES.items():
        print(draw(FOLDER / f"{name}.png", *picture))


if __name__ == "__main__":
    main()
