"""Tables that lie elsewhere train and embed as they do in memory."""

import gc
import glob
import os
import tempfile

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.feather
import pyarrow.parquet
import pytest
import torch
from small_tables import small, stays_unfitted
from torch.utils.data import IterableDataset

from sk_infovae._table import reading, sources
from sk_infovae.exceptions import SchemaError

dask_frames = pytest.importorskip("dask.dataframe")
dask_arrays = pytest.importorskip("dask.array")

N = 300


def numbers():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(N, 2)) @ rng.normal(size=(2, 5))).astype(np.float32)


def mixed():
    rng = np.random.default_rng(0)
    size = rng.normal(size=N)
    return pd.DataFrame(
        {
            "price": np.where(rng.random(N) < 0.1, np.nan, np.exp(size)),
            "rooms": rng.poisson(np.exp(1 + 0.3 * size)),
            "big": rng.random(N) < 0.5,
            "city": rng.choice(["Oslo", "Rome", "Bern"], N, p=[0.5, 0.3, 0.2]),
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, N), "D"),
            "note": [f"note {k}" for k in range(N)],
        }
    )


def parquet(frame, folder):
    path = folder / "table.parquet"
    frame.to_parquet(path)
    return path


def folder_of_parquet(frame, folder):
    place = folder / "parts"
    place.mkdir()
    for k, part in enumerate(np.array_split(np.arange(len(frame)), 3)):
        frame.iloc[part].to_parquet(place / f"part-{k}.parquet", index=False)
    return str(place)


def csv(frame, folder):
    path = folder / "table.csv"
    frame.to_csv(path, index=False)
    return str(path)


def feather(frame, folder):
    path = folder / "table.feather"
    frame.to_feather(path)
    return path


def dataset(frame, folder):
    return pa.dataset.dataset(pa.Table.from_pandas(frame, preserve_index=False))


def lazy(frame, folder):
    return pl.from_pandas(frame).lazy()


def dask(frame, folder):
    return dask_frames.from_pandas(frame, npartitions=4, sort=False)


OF_FRAMES = [parquet, folder_of_parquet, csv, feather, dataset, lazy, dask]


class Stream(IterableDataset):
    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


OF_NUMBERS = {
    "dask array": lambda X: dask_arrays.from_array(X, chunks=(70, 2)),
    "rows": lambda X: Stream(X),
    "batches": lambda X: Stream([torch.from_numpy(part) for part in np.array_split(X, 7)]),
}
sizes = pytest.mark.parametrize("most", [2**24, 0], ids=["small", "large"])


@pytest.fixture
def as_if_large(monkeypatch):
    def told(most):
        monkeypatch.setattr(reading, "MOST_IN_MEMORY", most)
        monkeypatch.setattr(sources, "BLOCK_CELLS", 350)  # several blocks

    return told


def spools():
    gc.collect()
    return glob.glob(os.path.join(tempfile.gettempdir(), "sk_infovae-*.cells"))


@sizes
@pytest.mark.parametrize("make", OF_FRAMES, ids=lambda make: make.__name__)
@pytest.mark.filterwarnings("ignore:Column 'note'")
def test_frames_that_lie_elsewhere_train_as_they_do_in_memory(make, most, tmp_path, as_if_large):
    frame, before = mixed(), set(spools())
    source = make(frame, tmp_path)
    plain = small(likelihood={"rooms": "poisson"}).fit(frame)
    as_if_large(most)
    vae = small(likelihood={"rooms": "poisson"}).fit(source)
    assert set(spools()) <= before
    assert list(vae.feature_names_in_) == list(frame.columns)
    assert vae._layout.schema.left_out == ["note"]
    np.testing.assert_allclose(vae.transform(frame), plain.transform(frame), rtol=1e-4, atol=1e-5)
    assert set(vae._layout.schema.columns[3].levels) == {"Oslo", "Rome", "Bern"}
    # What comes out of the source, as out of the frame; after it, nothing lies about.
    if make is not dask:
        np.testing.assert_array_equal(vae.transform(source), vae.transform(frame))
    np.testing.assert_allclose(vae.score_samples(source), vae.score_samples(frame), rtol=1e-9)
    assert vae.information(source).n_rows == N
    filled = vae.impute(source)
    assert not pd.isna(pd.Series(np.asarray(filled["price"]))).any()
    assert list(vae.sample(3).columns) == list(frame.columns)
    assert set(spools()) <= before


@sizes
@pytest.mark.parametrize("name", OF_NUMBERS)
def test_numbers_that_lie_elsewhere_are_those_of_an_array(name, most, as_if_large):
    X, before = numbers(), set(spools())
    plain = small().fit(X)
    as_if_large(most)
    source = OF_NUMBERS[name](X)
    vae = small().fit(source)
    for one, other in zip(plain.module_.parameters(), vae.module_.parameters(), strict=True):
        assert torch.equal(one, other)
    found = np.asarray(vae.transform(source))
    np.testing.assert_allclose(found, plain.transform(X), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(vae.score_samples(source), plain.score_samples(X), rtol=1e-9)
    del vae
    assert set(spools()) <= before


def test_tables_of_dask_come_back_as_such():
    frame = mixed().drop(columns="note").set_index(np.arange(N) * 2)
    vae = small().fit(frame)
    table = dask_frames.from_pandas(frame, npartitions=4)
    codes = vae.transform(table)
    assert isinstance(codes, dask_frames.DataFrame)
    assert codes.npartitions == 4
    found = codes.compute()
    np.testing.assert_array_equal(found.to_numpy(), vae.transform(frame))
    assert list(found.columns) == list(vae.get_feature_names_out())
    assert (found.index == frame.index).all()
    of_numbers = small().fit(numbers())
    array = of_numbers.transform(dask_arrays.from_array(numbers(), chunks=(70, 2)))
    assert isinstance(array, dask_arrays.Array)
    assert array.shape == (N, 2)
    np.testing.assert_allclose(array.compute(), of_numbers.transform(numbers()), atol=1e-6)


def test_blocks_of_other_dtypes_are_one_column(tmp_path, as_if_large):
    """A hole in one block makes no float of the integers of another."""
    frame = pd.DataFrame({"a": np.arange(N), "b": np.arange(N) / 7})
    frame["a"] = frame["a"].astype("Int64")
    frame.loc[250, "a"] = pd.NA
    path = parquet(frame, tmp_path)
    as_if_large(0)
    vae = small().fit(path)
    assert vae._layout.schema.kinds.tolist() == ["int", "float"]
    assert np.isfinite(vae.transform(path)).all()


@pytest.mark.parametrize("most", [2**24, 0])
def test_what_is_wrong_is_named_and_nothing_is_left(most, tmp_path, as_if_large):
    before = set(spools())
    as_if_large(most)
    frame = mixed().drop(columns="note")
    bad = frame.assign(price=np.where(np.arange(N) == 200, np.inf, 1.0 + np.arange(N)))
    vae = small()
    with pytest.raises(ValueError, match="infinity: column 'price'"):
        vae.fit(parquet(bad, tmp_path))
    with pytest.raises(FileNotFoundError, match=r"there is none: '.*nowhere.parquet'"):
        vae.fit(tmp_path / "nowhere.parquet")
    (tmp_path / "table.xlsx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"must end in \.parquet.*got 'table.xlsx'"):
        vae.fit(str(tmp_path / "table.xlsx"))
    with pytest.raises(ValueError, match="at least one row; got none"):
        vae.fit(Stream([]))
    with pytest.raises(ValueError, match=r"rows of numbers.*got str"):
        vae.fit(Stream(["a"]))
    with pytest.raises(ValueError, match="one width; got 4 columns after 3"):
        vae.fit(Stream([np.ones(3), np.ones(4)]))
    assert stays_unfitted(vae)
    vae.fit(frame)
    with pytest.raises((SchemaError, ValueError), match="price"):
        vae.transform(parquet(frame.assign(price="dear"), tmp_path))
    with pytest.raises(ValueError, match="feature names"):
        vae.transform(parquet(frame.rename(columns={"price": "cost"}), tmp_path))
    assert set(spools()) <= before


def test_columns_are_read_one_at_a_time(tmp_path, as_if_large, monkeypatch):
    """Passes over a large source: one for each column that is measured, and one for the cells."""
    as_if_large(0)
    read, blocks = [], []
    for name, log in (("series", read), ("blocks", blocks)):
        method = getattr(sources.ArrowBlocks, name)

        def counted(self, *args, method=method, log=log):
            log.append(args)
            return method(self, *args)

        monkeypatch.setattr(sources.ArrowBlocks, name, counted)
    monkeypatch.setattr(sources.ArrowBlocks, "collect", None)
    small().fit(parquet(mixed().drop(columns="note"), tmp_path))
    assert len(blocks) == 1
    assert sorted(args[0] for args in read) == [0, 1, 2, 3, 3, 4]  # free text is looked for in 3
