"""What decides whether trainings share a stack, and whether a fit finds one done in advance."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from skorch.callbacks import EpochTimer, GradientNormClipping

from sk_infovae import InfoVAETransformer
from sk_infovae._model.layout import ColumnSpec
from sk_infovae._training.fitting import Spec, ahead_key, prepare_fit
from sk_infovae._training.plan import TrainingPlan
from sk_infovae._training.training import StackKey
from sk_infovae.divergences import DIVERGENCES, KSD, MMD
from sk_infovae.likelihoods import LIKELIHOODS, Gaussian, Poisson

X = np.random.default_rng(0).normal(size=(40, 3))
OWN = {"alpha", "lambd", "lr", "tol", "patience", "validation_fraction", "verbose", "n_neighbors"}
"""What each model of a stack may have of its own, and a divergence's stackable numbers besides."""

OTHER = {
    "alpha": 0.7,
    "lambd": 3.0,
    "divergence": KSD(),
    "lr": 0.3,
    "batch_size": 7,
    "device": "meta",
    "verbose": 3,
    "net_params": {"optimizer": torch.optim.SGD},
    "max_epochs": 9,
    "patience": 77,
    "tol": 0.5,
    "validation_fraction": 0.4,
    "anneal": False,
    "neighbor_weight": 3.0,
    "n_neighbors": 4,
}
"""Another value for every field of a plan."""

OTHER_SHAPE = {
    "n_components": 5,
    "hidden_layer_sizes": (3, 4),
    "activation": "relu",
    "encoder": lambda n, d: torch.nn.Linear(n, 2 * d),
    "decoder": torch.nn.Linear,
    "likelihoods": (Gaussian(), Gaussian(), Poisson()),
    "hole_columns": (1,),
    "has_outliers": True,
}
"""Another value for every field of an architecture."""


def small(**params):
    return InfoVAETransformer(**{"max_epochs": 2, "random_state": 0, "device": "cpu", **params})


@pytest.fixture(scope="module")
def training():
    return prepare_fit(small(), X).training


def test_every_field_has_another_value(training):
    for whole, other in [(training.plan, OTHER), (training.architecture, OTHER_SHAPE)]:
        assert {field.name for field in fields(whole)} == set(other)
        assert all(getattr(whole, name) != value for name, value in other.items())


@pytest.mark.parametrize("name", OTHER)
def test_every_field_of_the_plan_counts_but_a_models_own(training, name):
    changed = replace(training, plan=replace(training.plan, **{name: OTHER[name]}))
    assert (changed.key == training.key) == (name in OWN)


@pytest.mark.parametrize("name", OTHER_SHAPE)
def test_every_field_of_the_architecture_counts(training, name):
    changed = replace(training.architecture, **{name: OTHER_SHAPE[name]})
    assert replace(training, architecture=changed).key != training.key


def test_every_field_of_the_key_counts(training):
    other = {"architecture": None, "plan": None, "n_rows": (1, 1), "has_mask": (True, True)}
    assert {field.name for field in fields(StackKey)} == set(other)
    stack = training.key
    assert all(replace(stack, **{name: value}) != stack for name, value in other.items())


SPEC = Spec.from_params(small().get_params())


def key(spec=SPEC, rows=X, dtype=X.dtype):
    return ahead_key(rows, dtype, spec)


@pytest.mark.parametrize("name", [f.name for f in fields(TrainingPlan)])
def test_every_field_of_the_plan_changes_the_fingerprint_of_a_fit(name):
    """All but what changes no number: where it runs, and what is shown."""
    changed = replace(SPEC, plan=replace(SPEC.plan, **{name: OTHER[name]}))
    assert (key(changed) == key()) == (name in {"device", "verbose"})


OTHER_SPEC = {
    "columns": [
        ColumnSpec(likelihood="student_t"),
        ColumnSpec(categorical_features=[0]),
        ColumnSpec(handle_unknown="error"),
    ],
    "networks": [
        replace(SPEC.networks, **{name: OTHER_SHAPE[name]})
        for name in ("n_components", "hidden_layer_sizes", "activation", "decoder")
    ],
    "plan": [replace(SPEC.plan, alpha=0.1)],
    "random_state": [1, None, np.random.RandomState(0)],
    "one_pass": [True],
}


def test_every_field_of_a_fit_changes_its_fingerprint():
    assert {field.name for field in fields(Spec)} == set(OTHER_SPEC)
    specs = [replace(SPEC, **{name: v}) for name, values in OTHER_SPEC.items() for v in values]
    keys = [key(spec) for spec in specs]
    assert len({*keys, key(), key(dtype=np.dtype("float32")), key(rows=X[:39])}) == len(keys) + 3
    assert key(replace(SPEC, networks=replace(SPEC.networks, encoder=lambda n, d: None))) is None


def columns_of(likelihood):
    ones = {"lognormal"} & set(likelihood.values())
    rows = np.ones_like(X) if ones else np.abs(X.round()) % 2
    return prepare_fit(small(likelihood=likelihood), rows).training.key


@pytest.mark.parametrize("name", sorted(LIKELIHOODS))
def test_which_column_has_a_likelihood_counts(name):
    if name == "gaussian":
        name, rest = "bernoulli", "gaussian"
    else:
        rest = "gaussian"
    keys = [columns_of({j: name, **{i: rest for i in range(3) if i != j}}) for j in range(3)]
    assert keys[0] != keys[1] != keys[2] != keys[0]


@pytest.mark.parametrize("name", sorted(DIVERGENCES))
def test_of_a_divergence_only_stackable_numbers_may_differ(name):
    one = DIVERGENCES[name]()
    for parameter in one.get_params():
        keys = [
            prepare_fit(small(divergence=one.replaced({parameter: value})), X).training.key
            for value in (0.5, 4.0)
        ]
        assert (keys[0] == keys[1]) == (parameter in one.stackable)


@pytest.mark.parametrize(
    "params",
    [
        {"encoder": lambda n, d: torch.nn.Linear(n, 2 * d)},
        {"activation": torch.nn.SiLU},
        {"divergence": type("Own", (MMD,), {})()},
        {"net_params": {"callbacks": [EpochTimer()]}},
        {"net_params": {"callbacks": [("clip", GradientNormClipping(1.0))]}},
        {"net_params": {"compile": True}},
        {"net_params": {"iterator_train__shuffle": False}},
        {"net_params": {"optimizer": torch.optim.LBFGS}},
        {"net_params": {"optimizer": type("Own", (torch.optim.Adam,), {})}},
    ],
    ids=str,
)
def test_what_is_the_users_own_trains_alone(params):
    assert prepare_fit(small(**params), X).training.key is None


def test_clipping_counts_by_its_value():
    plans = [
        prepare_fit(
            small(net_params={"callbacks": [GradientNormClipping(v)]}), X
        ).training.plan.shared
        for v in (1.0, 1.0, 2.0)
    ]
    assert plans[0] == plans[1] != plans[2]


def test_rows_count_by_their_content():
    other = X.copy()
    other[3, 1] += 1e-12
    keys = [prepare_fit(small(), rows).key for rows in (X, X.copy(), other)]
    assert keys[0] == keys[1] != keys[2]
    unseeded = [prepare_fit(small(random_state=None), X).key for _ in range(2)]
    assert unseeded[0] == unseeded[1]
