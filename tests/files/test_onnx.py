"""Graphs of ONNX give what the estimator gives, without it."""

import copy
import io
import sys

import numpy as np
import own_parts
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.exceptions import NotFittedError

from sk_infovae import InfoVAETransformer
from sk_infovae._inference.information import row_terms
from sk_infovae._table.reading import read_table

onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6), reason="needs torch 2.6"
)

TYPES = {"tensor(double)": np.float64, "tensor(float)": np.float32, "tensor(bool)": np.bool_}


def small(**params):
    defaults = {"hidden_layer_sizes": (6, 5), "max_epochs": 2, "n_importance_samples": 4}
    return InfoVAETransformer(**(defaults | {"random_state": 0} | params))


def session(vae, method="transform"):
    file = io.BytesIO()
    vae.export_onnx(file, method)
    return onnxruntime.InferenceSession(file.getvalue())


def column(X, name, kind):
    """A column as ONNX takes it: NaN, or a string that is no level, for a missing cell."""
    values = X[name].to_pandas() if isinstance(X, pl.DataFrame) else X[name]
    if kind in TYPES:
        return values.to_numpy(TYPES[kind])[:, None]
    return values.astype(object).where(values.notna(), "\0missing").to_numpy(object)[:, None]


def embedded(run, X):
    if not isinstance(X, pd.DataFrame | pl.DataFrame):
        X = X.toarray() if sparse.issparse(X) else X
        (only,) = run.get_inputs()
        return run.run(None, {only.name: X.astype(TYPES[only.type])})[0]
    feed = {one.name: column(X, one.name, one.type) for one in run.get_inputs()}
    return run.run(None, feed)[0]


def agrees(vae, X):
    """Both ways, to 1e-5 of what moves; levels and integers exactly."""
    Z = np.asarray(vae.transform(X))
    found = embedded(session(vae), X)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, Z, rtol=1e-5, atol=1e-5)
    back, run = vae.inverse_transform(Z), session(vae, "inverse_transform")
    tables = run.run(None, {"code": Z})
    if isinstance(back, np.ndarray):
        assert tables[0].dtype == back.dtype
        np.testing.assert_allclose(tables[0], back, rtol=1e-4, atol=1e-5)
        return
    names = [one.name for one in run.get_outputs()]
    assert names == [str(name) for name in back.columns]
    for name, table in zip(names, tables, strict=True):
        expected = back[name].to_numpy()
        if table.dtype in (object, bool, np.int64):
            np.testing.assert_array_equal(table[:, 0], expected.astype(table.dtype))
        else:
            np.testing.assert_allclose(table[:, 0], expected.astype(float), rtol=1e-4, atol=1e-5)


def mixed(n_rows=60, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"height": 100 + 7 * rng.normal(size=n_rows), "far": rng.normal(size=n_rows)})
    X.loc[3, "far"] = 1e6
    X.loc[::7, "height"] = np.nan
    X["rooms"] = rng.poisson(3, n_rows)
    X["owned"] = rng.random(n_rows) < 0.4
    X["town"] = rng.choice(["Oslo", "Rome", "", "\u00c5re"], n_rows)
    X["grade"] = pd.Categorical(rng.choice(["a", "b"], n_rows), ["b", "a", "unseen"], ordered=True)
    X.loc[::5, "grade"] = None
    X["zip"] = pd.Categorical(rng.choice([1100, 2200, 3300], n_rows))
    return X


def numbers(n_rows=40):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, 4)) + rng.normal(size=(n_rows, 4))


def holed(X):
    X = X.copy()
    X[::6, 1] = np.nan
    return X


TABLES = {
    "array": lambda: numbers(),
    "float32 with holes": lambda: holed(numbers()).astype(np.float32),
    "csr": lambda: sparse.csr_matrix(numbers()),
    "pandas": lambda: mixed(),
    "polars": lambda: pl.from_pandas(mixed()),
}


@pytest.mark.parametrize("table", TABLES)
def test_every_table(table):
    X = TABLES[table]()
    agrees(small(n_components=3).fit(X), X)


COUNTS = {0: "poisson", 1: "negative_binomial", 2: "lognormal", 3: "student_t"}
CASES = {
    "counts and tails": ({"likelihood": COUNTS}, lambda: np.floor(np.abs(numbers())) + 1),
    "ordinal levels in an array": (
        {"categorical_features": [0, 2], "likelihood": {0: "ordinal"}},
        lambda: numbers().round() / 2,
    ),
    "grey values": ({"likelihood": "bernoulli"}, lambda: np.clip(numbers(), 0, 1)),
    "many levels": (
        {"categorical_features": [0]},
        lambda: np.column_stack([np.arange(160) % 80, np.arange(160.0)]),
    ),
    "linear": ({"hidden_layer_sizes": ()}, numbers),
    "networks of one's own": (
        {"encoder": own_parts.encoder, "decoder": own_parts.decoder},
        numbers,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_part(case):
    params, make = CASES[case]
    X = make()
    agrees(small(**params).fit(X), X)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["silu", "relu", "gelu", "elu", "tanh", "softplus"])
@pytest.mark.parametrize("seed", range(5))
def test_random_tables(activation, seed):
    X = mixed(40 + 7 * seed, seed)
    likelihood = {"rooms": ["poisson", "gaussian", "ordinal"][seed % 3]}
    agrees(small(activation=activation, likelihood=likelihood, random_state=seed).fit(X), X)


def test_new_rows_unseen_strings_and_cells_far_out():
    vae, new = small().fit(mixed()), mixed(20, seed=9)
    new.loc[0, "town"] = "Paris"
    new.loc[1, "height"] = -1e300
    new.loc[2, "rooms"] = 10**9
    np.testing.assert_allclose(
        embedded(session(vae), new), vae.transform(new), rtol=1e-4, atol=1e-5
    )


def test_columns_with_the_names_of_the_graph_and_free_text():
    names = ["code", "net/cells", "_net/column/0", "code_"]
    X = pd.DataFrame(numbers(), columns=names)
    X["net/code"] = np.where(X["code"] > 0, "u", "v")
    X["text"] = [f"note {k}" for k in range(len(X))]
    with pytest.warns(UserWarning, match="free text"):
        vae = small().fit(X)
    run = session(vae)
    assert [one.name for one in run.get_inputs()] == [*names, "net/code"]
    np.testing.assert_allclose(embedded(run, X), vae.transform(X), rtol=1e-5, atol=1e-5)
    back = session(vae, "inverse_transform")
    assert [one.name for one in back.get_inputs()] == ["code__"]
    assert [one.name for one in back.get_outputs()] == [*names, "net/code"]


def test_booleans_with_holes_and_columns_without_a_cell():
    X = mixed()[["height", "rooms"]].copy()
    X["owned"] = pd.array(np.where(X["rooms"] > 3, True, False), "boolean")
    X.loc[::4, "owned"] = pd.NA
    X["nothing"] = pd.Series([None] * len(X), dtype="string")
    vae = small().fit(X)
    run = session(vae)
    feed = {one.name: X[[one.name]].to_numpy(object) for one in run.get_inputs()}
    feed["nothing"] = np.full((len(X), 1), "", dtype=object)
    for name in ("height", "rooms", "owned"):
        feed[name] = X[[name]].astype("Float64").to_numpy(float, na_value=np.nan)
    np.testing.assert_allclose(run.run(None, feed)[0], vae.transform(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("X", [numbers() > 0, np.floor(10 * numbers()).astype(int)], ids=["b", "i"])
def test_arrays_of_booleans_and_integers_come_back_as_the_estimator_gives_them(X):
    vae = small().fit(X)
    Z = vae.transform(X)
    (found,) = session(vae, "inverse_transform").run(None, {"code": Z})
    np.testing.assert_allclose(found, vae.inverse_transform(Z), rtol=1e-5, atol=1e-6)


def test_what_comes_back_is_within_float32():
    X = (np.random.default_rng(0).choice([-3.4e38, 0, 3.4e38], (40, 3))).astype(np.float32)
    vae = small().fit(X)
    Z = 100 * vae.transform(X)
    (found,) = session(vae, "inverse_transform").run(None, {"code": Z})
    np.testing.assert_allclose(found, vae.inverse_transform(Z), rtol=1e-4)


def elbo_of(vae, X, n_draws=4000):
    """The bound of each row by the estimator's own parts, and the error of its mean over draws."""
    cells = read_table(vae, vae._layout, X)
    with torch.no_grad():
        q, _, reconstruction = row_terms(
            copy.deepcopy(vae.module_).double(),
            cells,
            vae._layout.standardizer,
            n_draws,
            torch.Generator().manual_seed(1),
        )
    return (reconstruction - q.kl()).numpy()


ELBO_CASES = {
    **{name: ({}, TABLES[name]) for name in TABLES},
    "counts and tails": CASES["counts and tails"],
    "ordinal levels": CASES["ordinal levels in an array"],
    "grey values": CASES["grey values"],
    "many levels": CASES["many levels"],
}


@pytest.mark.parametrize("case", ELBO_CASES)
def test_the_elbo_of_a_row(case):
    params, make = ELBO_CASES[case]
    X = make()
    vae = small(n_components=2, max_epochs=20, **params).fit(X)
    found = embedded(session(vae, "elbo"), X)
    assert found.shape == (X.shape[0], 1)
    expected = elbo_of(vae, X)
    # 64 draws of a Sobol sequence against 4000 at random.
    np.testing.assert_allclose(found[:, 0], expected, rtol=0.02, atol=0.15)
    assert found.mean() == pytest.approx(expected.mean(), rel=3e-3, abs=0.03)


def test_the_elbo_of_one_linear_component_is_exact():
    """E |x - o(z)|^2 / v = |x - o(mean)|^2 / v + |slope|^2 std^2 / v, as the variance is 1."""
    X = numbers()
    vae = small(n_components=1, hidden_layer_sizes=(), max_epochs=10).fit(X)
    x, _ = vae._layout.standardizer.encode(X, np.float32)
    x, module, scale = torch.from_numpy(x), vae.module_, vae._layout.standardizer.scale
    with torch.no_grad():
        q = module.encode(x)
        at_mean = module.likelihood.log_prob(x, module.decoder(q.mean))
        slope = module.decoder(torch.ones(1, 1)) - module.decoder(torch.zeros(1, 1))
        variance = torch.from_numpy(vae.noise_variance_ / scale**2)
        spread = 0.5 * (slope.square() / variance).sum() * q.log_variance.exp()[:, 0]
        expected = at_mean - spread - q.kl() - np.log(scale).sum()
    found = embedded(session(vae, "elbo"), X)[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_the_elbo_is_a_bound_in_the_units_of_x():
    X = numbers()
    vae, far = small(max_epochs=20).fit(X), small(max_epochs=20).fit(1024 * X)
    one, other = embedded(session(vae, "elbo"), X), embedded(session(far, "elbo"), 1024 * X)
    np.testing.assert_allclose(one - X.shape[1] * np.log(1024), other, rtol=1e-4, atol=1e-3)
    vae.set_params(n_importance_samples=512)
    assert (one[:, 0] < vae.score_samples(X) + 0.1).all()


def test_what_can_not_be_said_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    times = pd.DataFrame({"when": pd.date_range("2020", periods=20), "x": np.arange(20.0)})
    with pytest.raises(ValueError, match="column 'when' is of kind 'time'"):
        small().fit(times).export_onnx(path)
    large = pd.DataFrame(numbers(), columns=list("abcd")).assign(
        e=pd.Categorical(2**60 + np.arange(40) % 3)
    )
    with pytest.raises(ValueError, match="column 'e' is of kind 'category'"):
        small().fit(large).export_onnx(path)
    with pytest.raises(ValueError, match="have a name"):
        small().fit(pd.DataFrame(numbers(), columns=["", "a", "b", "c"])).export_onnx(path)
    vae = small().fit(numbers())
    with pytest.raises(ValueError, match="method must be one of"):
        vae.export_onnx(path, "predict")
    with pytest.raises(NotFittedError):
        small().export_onnx(path)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"sk-infovae\[onnx\]"):
        vae.export_onnx(path)
    assert not path.exists()


def test_the_estimator_is_as_it_was():
    X = numbers()
    vae = small(device="cpu").fit(X)
    before, state = vae.transform(X), torch.get_rng_state()
    session(vae)
    np.testing.assert_array_equal(vae.transform(X), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not vae.module_.training
