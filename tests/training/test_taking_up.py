"""A fit that was killed and is run again: the bits of the fit that was not."""

import os
import shutil
import signal

import numpy as np
import pandas as pd
import pytest
import torch
from killing import check_killed
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import EarlyStopping, GradientNormClipping, LRScheduler
from small_fits import small
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from sk_infovae import InfoVAETransformer
from sk_infovae._base import files
from sk_infovae._base.compat import ScoringMonitor
from sk_infovae._training import taking_up
from sk_infovae._training.net import InfoVAENet
from sk_infovae._training.state import net_state
from sk_infovae.callbacks import ScoreMonitor


class Dropout(nn.Sequential):
    """Draws from torch's global generator."""

    def __init__(self, n_inputs, n_components):
        layers = nn.Linear(n_inputs, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3)
        super().__init__(*layers, nn.Linear(8, 2 * n_components))


class Breaks(nn.Sequential):
    """Turns NaN in the sixth epoch of four batches."""

    def __init__(self, n_inputs, n_components):
        super().__init__(nn.Linear(n_inputs, 2 * n_components))
        self.register_buffer("n_batches", torch.tensor(0))

    def forward(self, x):
        self.n_batches += self.training
        return super().forward(x) * (torch.nan if self.training and self.n_batches > 20 else 1.0)


def mixed(X):
    holes = np.where(np.random.default_rng(1).random(len(X)) < 0.2, np.nan, X[:, 0])
    return pd.DataFrame({"a": holes, "b": X[:, 1], "c": pd.Categorical(np.round(X[:, 2]) > 0)})


def own(optimizer, *callbacks, **settings):
    params = {"optimizer": optimizer, "callbacks": list(callbacks)}
    return {"net_params": params | {f"optimizer__{key}": value for key, value in settings.items()}}


CASES = {
    "defaults": {},
    "no rows held out": {"early_stopping": False},
    "stops early": {"max_epochs": 40, "n_iter_no_change": 2, "tol": 0.02},
    "critic": {"divergence": "adversarial"},
    "neighbors": {"neighbor_weight": 5.0, "n_neighbors": 3},
    "closed form": {"likelihood": "student_t"},
    "clipping": {"net_params": {"callbacks": [GradientNormClipping(0.1)]}},
    "momentum and one cycle": own(
        torch.optim.SGD,
        LRScheduler(OneCycleLR, max_lr=0.01, total_steps=100, step_every="batch"),
        momentum=0.9,
    ),
    "plateau": {
        "net_params": {"callbacks": [LRScheduler(ReduceLROnPlateau, patience=0, threshold=10.0)]}
    },
    "decoupled decay": own(torch.optim.AdamW, weight_decay=0.1),
    "dropout": {"encoder": Dropout},
    "factored moments": own(torch.optim.Adafactor) if hasattr(torch.optim, "Adafactor") else {},
    "line searches": {**own(torch.optim.LBFGS, max_iter=3), "lr": 1e-3},
}
TABLES = {"frame with holes": mixed, "csr": sparse.csr_matrix}


class Killed(BaseException):
    pass


@pytest.fixture(autouse=True)
def keeps_every_epoch(monkeypatch):
    monkeypatch.setattr(taking_up, "SHARE", 0)


@pytest.fixture
def steps(monkeypatch):
    """Counts the training steps, and kills the fit at one of them."""

    class Steps:
        taken, last = 0, None

    original = InfoVAENet.train_step

    def step(self, *args, **kwargs):
        if Steps.taken == Steps.last:
            raise Killed
        Steps.taken += 1
        return original(self, *args, **kwargs)

    monkeypatch.setattr(InfoVAENet, "train_step", step)
    return Steps


def state(vae):
    """All that a fit leaves."""
    found = net_state(vae.net_) | {"answer": vae.history_, "noise": vae.noise_variance_}
    return found | {"explained": vae.explained_variance_ratio_, "loadings": vae.loadings_}


def fit_until_it_ends(make, fit, steps, seed=0):
    """Kill the fit after a random number of steps, again and again; and how often that was."""
    rng = np.random.default_rng(seed)
    for n_killed in range(100):
        steps.last = None
        vae = make()
        steps.taken, steps.last = 0, int(rng.integers(5, 12))
        try:
            fit(vae)
        except Killed:
            continue
        steps.last = None
        return vae, n_killed
    raise AssertionError("a hundred times not a step further")


@pytest.mark.parametrize("case", [*CASES, *TABLES])
def test_the_bits_of_the_fit_that_was_not_killed(case, X, tmp_path, steps):
    params = {"n_components": 2, "max_epochs": 6, **CASES.get(case, {})}
    T, before = TABLES.get(case, np.asarray)(X), torch.get_rng_state()
    whole = small(**params).fit(T)
    vae, n_killed = fit_until_it_ends(
        lambda: small(**params, memory=tmp_path), lambda vae: vae.fit(T), steps, len(case)
    )
    assert n_killed >= 2
    np.testing.assert_equal(state(vae), state(whole))
    assert torch.equal(torch.get_rng_state(), before)
    assert len(os.listdir(tmp_path)) == 1


def test_with_rows_to_validate_on(X, tmp_path, steps):
    whole = small().fit(X[:80], X_val=X[80:])
    vae, n_killed = fit_until_it_ends(
        lambda: small(memory=tmp_path), lambda vae: vae.fit(X[:80], X_val=X[80:]), steps
    )
    assert n_killed >= 1
    np.testing.assert_equal(state(vae), state(whole))
    small(memory=tmp_path).fit(X[:80], X_val=X[81:])
    assert len(os.listdir(tmp_path)) == 2


def test_a_warm_start(X, tmp_path, steps):
    def begun(**memory):
        vae = small(warm_start=True, early_stopping=False).fit(X)
        return vae.set_params(**memory)

    whole = begun().fit(X[:90])
    vae, n_killed = fit_until_it_ends(
        lambda: begun(memory=tmp_path), lambda vae: vae.fit(X[:90]), steps
    )
    assert n_killed >= 1
    np.testing.assert_equal(state(vae), state(whole))
    vae.fit(X[:90])  # goes on from another place
    assert len(os.listdir(tmp_path)) == 2
    assert vae.n_iter_ == 15


def test_what_diverged_and_went_back(X, tmp_path, steps):
    params = {"encoder": Breaks, "max_epochs": 10, "early_stopping": False}
    back = pytest.warns(ConvergenceWarning, match="diverged in epoch 6: .* its best")
    with back:
        whole = small(**params).fit(X)
    with back:
        vae, n_killed = fit_until_it_ends(
            lambda: small(**params, memory=tmp_path), lambda vae: vae.fit(X), steps
        )
    assert n_killed >= 2
    np.testing.assert_equal(state(vae), state(whole))
    steps.taken = 0
    with back:  # what has ended says so again
        again = clone(vae).fit(X)
    assert steps.taken == 0
    np.testing.assert_equal(state(again), state(whole))


def test_what_has_ended_is_not_trained_again(X, tmp_path, steps):
    vae = small(memory=str(tmp_path)).fit(X)
    assert steps.taken
    steps.taken = 0
    again = clone(vae).fit(X)
    assert steps.taken == 0
    np.testing.assert_equal(state(again), state(vae))
    again.fit(X)
    assert steps.taken == 0


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        ({"verbose": 1}, False),
        ({"n_importance_samples": 99}, False),
        ({"alpha": 0.1}, True),
        ({"random_state": 1}, True),
        ({"activation": "relu"}, True),
        ({"divergence": "kl"}, True),
    ],
)
def test_what_decides_the_training_decides_the_file(change, anew, X, tmp_path, steps):
    small(memory=tmp_path).fit(X)
    steps.taken = 0
    small(memory=tmp_path, **change).fit(X)
    assert bool(steps.taken) == anew


def test_other_rows_are_another_fit(X, tmp_path, steps):
    small(memory=tmp_path).fit(X)
    Y = X.copy()
    Y[0, 0] += 1e-3
    for T in (Y, X[:, :3], sparse.csr_matrix(X)):
        steps.taken = 0
        small(memory=tmp_path).fit(T)
        assert steps.taken


def test_after_a_ctrl_c(X, tmp_path, monkeypatch):
    whole, original, left = small().fit(X), InfoVAENet.train_step, iter(range(6))

    def step(self, *args, **kwargs):
        if next(left, None) is None:
            signal.raise_signal(signal.SIGINT)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(InfoVAENet, "train_step", step)
    vae = small(memory=tmp_path)
    with (
        pytest.warns(ConvergenceWarning, match="epoch 1 left it"),
        pytest.raises(KeyboardInterrupt),
    ):
        vae.fit(X)
    monkeypatch.setattr(InfoVAENet, "train_step", original)
    np.testing.assert_equal(state(vae.fit(X)), state(whole))


def test_a_damaged_file_is_trained_anew(X, tmp_path, steps):
    whole = small(memory=tmp_path).fit(X)
    (file,) = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    data[99] ^= 1
    file.write_bytes(bytes(data))
    steps.taken = 0
    with pytest.warns(RuntimeWarning, match="is damaged: its fit is trained anew"):
        vae = small(memory=tmp_path).fit(X)
    assert steps.taken
    np.testing.assert_equal(state(vae), state(whole))


def test_a_full_disk_is_said_once_and_costs_no_result(X, tmp_path, monkeypatch):
    write = files.write

    def full(data, file):
        if data:
            raise OSError(28, "No space left on device")
        write(data, file)

    monkeypatch.setattr(files, "write", full)
    with pytest.warns(RuntimeWarning, match="could not be kept in .*No space left") as said:
        vae = small(memory=tmp_path).fit(X)
    assert len(said) == 1
    assert said[0].filename == __file__
    np.testing.assert_equal(state(vae), state(small().fit(X)))
    assert os.listdir(tmp_path) == []


def test_a_folder_that_vanishes_costs_no_result(X, tmp_path, monkeypatch):
    original = InfoVAENet.train_step

    def step(self, *args, **kwargs):
        shutil.rmtree(tmp_path / "kept", ignore_errors=True)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(InfoVAENet, "train_step", step)
    with pytest.warns(RuntimeWarning, match="could not be kept"):
        vae = small(memory=tmp_path / "kept").fit(X)
    np.testing.assert_equal(state(vae), state(small().fit(X)))


REFUSED = {
    "no seed": ({"random_state": None}, "memory needs a random_state"),
    "callback": ({"net_params": {"callbacks": [EarlyStopping()]}}, "can't keep the callback"),
    "sampler": ({"net_params": {"iterator_train__sampler": [0, 1]}}, "can't keep iterator_train__"),
    "generator": (
        {"net_params": {"iterator_train__generator": torch.Generator()}},
        "can't keep iterator_train__generator",
    ),
    "unnamed": ({"encoder": lambda n, k: nn.Linear(n, 2 * k)}, "that pickle can name"),
    "no path": ({"memory": 3}, "'memory' parameter"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_be_kept_is_refused(case, X, tmp_path, steps):
    params, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        small(**{"memory": tmp_path, **params}).fit(X)
    assert steps.taken == 0


def test_callbacks_of_scikit_learn_are_refused(X, tmp_path):
    """They may stop a training, which then would be kept as one that ended."""
    if ScoringMonitor is None:
        pytest.skip("scikit-learn < 1.9 has no callbacks")
    vae = small(memory=tmp_path).set_callbacks(ScoreMonitor())
    with pytest.raises(ValueError, match="memory and callbacks of scikit-learn"):
        vae.fit(X)


def test_a_folder_that_can_not_be_is_said_before_anything_is_trained(X, tmp_path, steps):
    file = tmp_path / "file"
    file.write_text("no folder")
    with pytest.raises(OSError, match="file"):
        small(memory=file).fit(X)
    assert steps.taken == 0


def test_no_file_of_a_model_says_where_to_write(X, tmp_path):
    vae = small(memory=tmp_path / "kept").fit(X)
    vae.save(tmp_path / "model")
    assert str(tmp_path).encode() not in (tmp_path / "model").read_bytes()
    assert InfoVAETransformer.load(tmp_path / "model").memory is None


def test_partial_fit_keeps_nothing(X, tmp_path):
    small(memory=tmp_path / "kept").partial_fit(X)
    assert os.listdir(tmp_path) == []


def test_keeping_costs_a_small_share_of_the_time(X, tmp_path, monkeypatch):
    monkeypatch.undo()
    clock = iter(np.arange(0.0, 1e6))  # each look at it takes a second
    monkeypatch.setattr(taking_up.time, "perf_counter", lambda: next(clock))
    written = []
    monkeypatch.setattr(files, "write", lambda data, file: written.append(len(data)))
    small(memory=tmp_path, max_epochs=200, early_stopping=False).fit(X)
    n_kept = len(written) - 1  # less the look whether the folder can be written to
    assert 200 / taking_up.SHARE - 2 <= n_kept <= 200 / taking_up.SHARE + 2


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from small_fits import small, table
vae = small(max_epochs=4000, early_stopping=False, memory=sys.argv[1]).fit(table())
print(vae.transform(table()).tobytes().hex())
"""


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    check_killed(SCRIPT.format(folder=os.path.dirname(__file__)), tmp_path, n_kills=5)
