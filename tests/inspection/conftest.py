"""Fits that several files draw; pictures are closed after each test."""

import warnings

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from display_tables import TABLES
from small_tables import small

mpl.use("Agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def fits():
    kept = {}

    def fit(name, d):
        if (name, d) not in kept:
            X = TABLES[name]()
            with warnings.catch_warnings(action="ignore", category=UserWarning):  # of free text
                kept[name, d] = small(n_components=d).fit(X), X
        return kept[name, d]

    return fit
