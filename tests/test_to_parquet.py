"""What is written block by block is what the estimator says of the whole table."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_tables import small

from sk_infovae import files
from sk_infovae._table import reading, sources
from sk_infovae.files import to_parquet

N = 90


def mixed():
    rng = np.random.default_rng(0)
    size = rng.normal(size=N)
    return pd.DataFrame(
        {
            "key": [f"row {k}" for k in range(N)],
            "price": np.where(rng.random(N) < 0.2, np.nan, np.exp(size)),
            "big": rng.random(N) < 0.5,
            "city": rng.choice(["Oslo", "Rome"], N),
            "kind": pd.Categorical(rng.choice(["a", "b", "c"], N)),
        }
    )


FEATURES = mixed().drop(columns="key")


def to_file(frame, folder):
    path = folder / "table.parquet"
    frame.to_parquet(path)
    return path


SOURCES = {
    "frame": lambda frame, folder: frame,
    "parquet": to_file,
    "lazy": lambda frame, folder: pl.from_pandas(frame).lazy(),
}


@pytest.fixture(params=[2**20, 60], ids=["whole", "blocks"])
def block_cells(request, monkeypatch):
    """Tables of one block and of many."""
    monkeypatch.setattr(files, "BLOCK_CELLS", request.param)
    monkeypatch.setattr(sources, "BLOCK_CELLS", request.param)
    if request.param < N:
        monkeypatch.setattr(reading, "MOST_IN_MEMORY", 0)


@pytest.mark.parametrize("method", ["transform", "impute", "score_samples"])
@pytest.mark.parametrize("source", SOURCES)
def test_blocks_are_the_whole_table(method, source, block_cells, tmp_path):
    frame, target = mixed(), tmp_path / "out.parquet"
    vae = small().fit(FEATURES)
    n_rows = to_parquet(vae, SOURCES[source](frame, tmp_path), target, method=method, keep=["key"])
    assert n_rows == N
    is_whole = source == "frame" or files.BLOCK_CELLS > N
    assert (pyarrow.parquet.ParquetFile(target).num_row_groups == 1) == is_whole
    found = pd.read_parquet(target)
    assert (found.pop("key") == frame["key"]).all()
    whole = getattr(vae, method)(FEATURES)
    if method == "impute":
        assert list(found) == list(FEATURES)
        for name in FEATURES:
            assert (found[name].to_numpy() == whole[name].to_numpy()).all()
    else:
        whole = whole.reshape(N, -1)
        np.testing.assert_allclose(found.to_numpy(), whole, rtol=1e-9, atol=1e-6)
    names = {"transform": list(vae.get_feature_names_out()), "score_samples": ["score_samples"]}
    assert list(found) == names.get(method, list(FEATURES))


def test_arrays_memmaps_and_pipelines(block_cells, tmp_path):
    X = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
    target, place = tmp_path / "out.parquet", tmp_path / "table.npy"
    np.save(place, X)
    model = make_pipeline(StandardScaler(), small(), LinearRegression()).fit(X, X[:, 0])
    for source in (X, np.load(place, mmap_mode="r")):
        assert to_parquet(model, source, target, method="predict") == N
        found = pd.read_parquet(target)
        assert list(found) == ["predict"]
        np.testing.assert_allclose(found["predict"], model.predict(X), rtol=1e-5, atol=1e-5)
    to_parquet(model[:-1], X, target)
    assert list(pd.read_parquet(target)) == list(model[:-1].get_feature_names_out())


def test_no_rows_are_refused(tmp_path):
    vae = small().fit(np.random.default_rng(0).normal(size=(N, 4)))
    with pytest.raises(ValueError, match="at least one row; got none"):
        to_parquet(vae, np.empty((0, 4)), tmp_path / "out.parquet")
    assert not list(tmp_path.iterdir())


def test_names_are_those_of_what_is_written(tmp_path):
    """Three classes of three columns are no columns; kept columns that are features are both."""
    rng, target = np.random.default_rng(0), tmp_path / "out.parquet"
    X = pd.DataFrame(rng.normal(size=(N, 3)), columns=list("abc"))
    model = make_pipeline(small(), LogisticRegression()).fit(X, np.arange(N) % 3)
    to_parquet(model, X, target, method="predict_proba", keep=["b"])
    assert list(pd.read_parquet(target)) == ["b", *(f"predict_proba{j}" for j in range(3))]
    unnamed = make_pipeline("passthrough", small()).fit(X)
    to_parquet(unnamed, X, target, keep=["b"])
    found = pd.read_parquet(target)
    np.testing.assert_allclose(found.iloc[:, 1:], unnamed.transform(X), atol=1e-6)


def test_a_failure_leaves_the_old_file_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "BLOCK_CELLS", 60)
    monkeypatch.setattr(reading, "MOST_IN_MEMORY", 0)
    vae, target = small().fit(FEATURES), tmp_path / "out.parquet"
    to_parquet(vae, FEATURES, target)
    before = target.read_bytes()
    bad = FEATURES.assign(price=np.where(np.arange(N) == 80, np.inf, 1.0))
    with pytest.raises(ValueError, match="infinity"):
        to_parquet(vae, to_file(bad, tmp_path), target)
    assert target.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"out.parquet", "table.parquet"}


def test_a_file_may_take_the_place_of_its_source(tmp_path):
    vae, path = small().fit(FEATURES), to_file(FEATURES, tmp_path)
    to_parquet(vae, path, path, method="impute")
    assert not pyarrow.parquet.read_table(path).column("price").null_count


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"method": "posterior"}, "'posterior', which gave tuple"),
        ({"keep": ["name"]}, r"got \['name'\], and X has \['price'"),
        ({"keep": "price"}, "list of names; got the string 'price'"),
        ({"method": "impute", "keep": ["price"]}, r"answer has too; got \['price'\]"),
    ],
)
def test_what_cannot_be_written_is_refused(how, message, tmp_path):
    vae, target = small().fit(FEATURES), tmp_path / "out.parquet"
    with pytest.raises(ValueError, match=message):
        to_parquet(vae, FEATURES, target, **how)
    assert not target.exists()
