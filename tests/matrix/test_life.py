"""An estimator's life in any order: what has always to hold, whatever came before.

A hypothesis state machine calls methods, good and bad, on one small estimator. Beside it goes a
witness, made through a file whenever the estimator has learned something: until it learns again,
the two must answer alike, to the bit, whatever was called, failed or set in between.
"""

import copy
import io
import pickle
import random

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sklearn.base import clone

from sk_infovae import InfoVAETransformer
from sk_infovae.exceptions import ModelFileError, TrainingDivergedError
from sk_infovae.model_selection import InfoVAEGridSearchCV

pytestmark = pytest.mark.filterwarnings("ignore")


def array(seed, n_rows=24):
    X = np.random.default_rng(seed).normal(size=(n_rows, 3)).round(2)
    X[:, 1] += X[:, 0]
    return X


def frame(seed, n_rows=24):
    rng, X = np.random.default_rng(seed), array(seed, n_rows)
    columns = {"a": X[:, 0], "b": np.where(rng.random(n_rows) < 0.2, np.nan, X[:, 1])}
    return pd.DataFrame({**columns, "c": pd.Categorical(rng.choice(["u", "v"], n_rows))})


TABLES = {"array": array, "frame": frame}

GOOD = {
    "n_components": [1, 2],
    "alpha": [0.0, 0.9],
    "lambd": [1.0, 100.0],
    "divergence": ["mmd", "kl", "adversarial"],
    "neighbor_weight": [0.0, 2.0],
    "hidden_layer_sizes": [(), (3,)],
    "max_epochs": [1, 3],
    "batch_size": [5, 100],
    "lr": [1e-3, 1e-2],
    "early_stopping": [True, False],
    "warm_start": [True, False],
    "random_state": [0, 1],
    "n_importance_samples": [2, 4],
    "likelihood": ["auto", "gaussian"],
}
BAD = {
    "n_components": [0, "two"],
    "alpha": [2.0, "x"],
    "lambd": [-5.0],
    "divergence": ["nonsense"],
    "hidden_layer_sizes": [(0,), 3],
    "max_epochs": [0],
    "lr": [0.0, 1e30],
    "likelihood": ["poison", {99: "gaussian"}],
    "device": ["cuda:99", "nowhere"],
    "net_params": [{"lr": 1.0}, {"optimizer": "nonsense"}],
}
ANSWERS = ("transform", "score_samples", "impute", "posterior")


def pairs(choices):
    return st.sampled_from([(name, value) for name, some in choices.items() for value in some])


def through_a_file(vae):
    file = io.BytesIO()
    vae.save(file)
    file.seek(0)
    return InfoVAETransformer.load(file)


def same(one, other):
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other)
    else:
        np.testing.assert_array_equal(one, other)


def global_state():
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    torchs = torch.get_rng_state().numpy().tobytes()
    return kind, keys.tobytes(), *rest, torchs, random.getstate(), torch.get_num_threads()


class Life(RuleBasedStateMachine):
    @initialize(kind=st.sampled_from(sorted(TABLES)))
    def birth(self, kind):
        self.kind, self.probe = kind, TABLES[kind](99)
        self.vae = InfoVAETransformer(
            hidden_layer_sizes=(3,), max_epochs=2, n_importance_samples=2, random_state=0
        )
        self.params, self.witness = self.vae.get_params(), None
        self.before = global_state()

    def learned(self):
        """From here on the witness is who fit has made."""
        self.witness = through_a_file(self.vae)

    def attempt(self, action):
        """Whether it went well; what goes wrong is refused by name, and changes nothing."""
        try:
            action()
        except (ValueError, TypeError, FileNotFoundError, TrainingDivergedError):
            return False
        return True

    # Learning

    @rule(seed=st.integers(0, 2))
    def fit(self, seed):
        X, fresh = TABLES[self.kind](seed), clone(self.vae)
        going_on = self.vae.warm_start and self.witness is not None
        if self.attempt(lambda: self.vae.fit(X)):
            self.learned()
            if not going_on:  # a life leaves no traces in a new fit
                same(fresh.fit(X).transform(X), self.vae.transform(X))

    @rule(seed=st.integers(0, 2))
    def partial_fit(self, seed):
        X = TABLES[self.kind](seed, 7)
        twin = copy.deepcopy(self.vae)
        if self.attempt(lambda: self.vae.partial_fit(X)):
            self.learned()
            same(twin.partial_fit(X).transform(X), self.vae.transform(X))

    @rule()
    def fit_what_can_not_be(self):
        X = TABLES[self.kind](0)
        for wrong in (X[:0], X[:1], np.full((9, 3), np.inf), "text", None):
            assert not self.attempt(lambda wrong=wrong: self.vae.fit(wrong))

    @rule(grid=pairs({name: GOOD[name] for name in ("alpha", "lambd", "n_components")}))
    def search(self, grid):
        name, value = grid
        template = clone(self.vae).set_params(warm_start=False)
        found = InfoVAEGridSearchCV(template, {name: [value]}, cv=2, error_score=np.nan)
        X = TABLES[self.kind](1)
        if self.attempt(lambda: found.fit(X)):
            self.vae = found.best_estimator_
            self.params = self.vae.get_params()
            same(clone(self.vae).fit(X).transform(X), self.vae.transform(X))
            self.learned()

    # Living on

    @rule(pair=pairs(GOOD))
    def set_params(self, pair):
        self.vae.set_params(**dict([pair]))
        self.params = self.vae.get_params()

    @rule(pair=pairs(BAD), seed=st.integers(0, 2))
    def set_bad_params_and_try(self, pair, seed):
        name, value = pair
        kept = self.vae.get_params()[name]
        self.vae.set_params(**{name: value})
        if self.attempt(lambda: self.vae.fit(TABLES[self.kind](seed))):
            self.learned()  # 1e30 may go well, and "device" may be there
        self.vae.set_params(**{name: kept})

    @rule(way=st.sampled_from(["pickle", "file", "deepcopy", "clone"]))
    def go_through(self, way):
        if way == "clone":
            self.vae, self.witness = clone(self.vae), None
        elif way == "pickle":
            self.vae = pickle.loads(pickle.dumps(self.vae))
        else:
            self.vae = {"file": through_a_file, "deepcopy": copy.deepcopy}[way](self.vae)

    @rule(cut=st.integers(1, 200))
    def load_half_a_file(self, cut):
        file = io.BytesIO()
        self.vae.save(file)
        with pytest.raises(ModelFileError):
            InfoVAETransformer.load(io.BytesIO(file.getvalue()[:-cut]))

    # Asking

    @precondition(lambda self: self.witness is not None)
    @rule(name=st.sampled_from(["information", "sample", "score", "inverse_transform"]))
    def ask(self, name):
        arguments = {
            "information": (self.probe,),
            "sample": (3, 0),
            "score": (self.probe,),
            "inverse_transform": (self.witness.transform(self.probe),),
        }[name]
        ours, theirs = (getattr(vae, name)(*arguments) for vae in (self.vae, self.witness))
        if name == "information":
            ours, theirs = (vars(found)["mutual_information"] for found in (ours, theirs))
        same(ours, theirs)

    @rule(name=st.sampled_from(ANSWERS))
    def ask_what_can_not_be(self, name):
        for wrong in (np.ones((3, 7)), np.full((2, 3), np.inf), "text", None):
            assert not self.attempt(lambda wrong=wrong: getattr(self.vae, name)(wrong))

    # What has to hold

    @invariant()
    def answers_as_it_has_learned(self):
        if self.witness is None:
            assert not hasattr(self.vae, "net_")
            return
        for name in ANSWERS[:2]:
            self.witness.n_importance_samples = self.vae.n_importance_samples
            same(getattr(self.vae, name)(self.probe), getattr(self.witness, name)(self.probe))

    @invariant()
    def has_the_parameters_that_were_set(self):
        assert repr(self.vae.get_params()) == repr(self.params)

    @invariant()
    def leaves_global_state_alone(self):
        assert global_state() == self.before


QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}
Life.TestCase.settings = settings(
    max_examples=15, stateful_step_count=12, derandomize=True, **QUIET
)
TestLife = Life.TestCase


@pytest.mark.slow
def test_long_lives():
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        Life, settings=settings(max_examples=400, stateful_step_count=30, **QUIET)
    )
