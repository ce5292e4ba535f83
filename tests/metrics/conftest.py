"""Fitted models that several files ask."""

import numpy as np
import pytest
from metric_fits import HOLES, linear, mixed_frame, small


@pytest.fixture(scope="module")
def fitted():
    return small().fit(HOLES)


@pytest.fixture(scope="module")
def frame():
    return mixed_frame()


@pytest.fixture(scope="module")
def of_frame(frame):
    return small(1, max_epochs=30).fit(frame[:150])


@pytest.fixture(scope="module")
def gaussian_world():
    """Rows x ~ N(0, S), standardised, and a vae that is a bad model of them on purpose."""
    rng = np.random.default_rng(3)
    root = np.array([[1.0, 0, 0], [0.6, 0.8, 0], [0.0, 0.6, 0.8]])
    data = rng.normal(size=(600, 3)) @ root.T
    A = np.array([[0.5, 0.2, 0.0], [0.0, 0.3, -0.4]])
    W = np.array([[0.9, 0.1], [0.5, 0.5], [0.0, -0.7]])
    b, log_variance = np.array([0.3, -0.2]), np.array([-1.0, -0.5])
    vae = linear(data, A, b, log_variance, W, 0.1, n_importance_samples=4096)
    return vae, data, (data - data.mean(0)) / data.std(0), A, b, np.exp(log_variance), W
