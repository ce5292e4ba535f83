"""A memmap, read block by block, against the same table in memory."""

import numpy as np
import pytest
from small_tables import small

from sk_infovae import metrics
from sk_infovae._model.domain import check_values
from sk_infovae._table import disk, standardizer
from sk_infovae._table.disk import DiskTable
from sk_infovae._training import rows
from sk_infovae._training.rows import DiskRows, Shuffled, make_rows
from sk_infovae.likelihoods import Bernoulli
from sk_infovae.preprocessing import TabularPreprocessor

N_ROWS, WIDTH = 400, 5


@pytest.fixture
def tiny_blocks(monkeypatch):
    """Buffers of 60 rows of pieces of 8; reads of 50."""
    monkeypatch.setattr(rows, "BUFFER_CELLS", 60 * WIDTH)
    monkeypatch.setattr(rows, "PIECE_CELLS", 8 * WIDTH)
    monkeypatch.setattr(standardizer, "BLOCK_CELLS", 50 * WIDTH)
    monkeypatch.setattr(disk, "ROWS_AT_ONCE", 16)


def table(dtype=np.float32, holes=False):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, 2)) @ rng.normal(size=(2, WIDTH)) + rng.normal(size=(1, WIDTH))
    X = 10 * X + rng.normal(size=X.shape)
    if holes:
        X[rng.random(X.shape) < 0.1] = np.nan
    return X.astype(dtype)


def on_disk(X, path):
    np.save(path / "table.npy", X)
    return np.load(path / "table.npy", mmap_mode="r")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, bool])
@pytest.mark.parametrize("holes", [False, True])
def test_what_fits_a_buffer_gives_the_bits_of_memory(dtype, holes, tmp_path):
    if holes and np.dtype(dtype).kind != "f":
        dtype = np.float64
    X = table(holes=holes).astype(dtype)
    M = on_disk(X, tmp_path)
    one, other = small(max_epochs=3).fit(X), small(max_epochs=3).fit(M)
    for method in ("transform", "score_samples", "impute"):
        np.testing.assert_array_equal(getattr(other, method)(M), getattr(one, method)(X))
    assert one.history_ == other.history_
    np.testing.assert_equal(vars(one.information(X)), vars(other.information(M)))
    np.testing.assert_array_equal(
        one.inverse_transform(one.transform(X)), other.inverse_transform(other.transform(M))
    )


@pytest.mark.parametrize("holes", [False, True])
def test_statistics_are_those_of_memory(holes, tmp_path, tiny_blocks):
    X = table(np.float64, holes)
    X[:, 1] = 3.0
    X[:, 2] *= 1e-160  # whose squares are no numbers
    X[7, 3] = 1e9
    if holes:
        X[:120, 4] = np.nan  # the first blocks lack the column
    found = small(max_epochs=1).fit(on_disk(X, tmp_path))._layout.standardizer
    expected = small(max_epochs=1).fit(X)._layout.standardizer
    for name in ("centre", "scale", "fill", "low", "high", "has_holes", "far"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=0, err_msg=name)


def test_larger_ones_are_as_good_as_in_memory(tmp_path, tiny_blocks):
    """Also where the rows lie in an order: by the first column."""
    X = table()
    X, new = X[:300][np.argsort(X[:300, 0])], X[300:]
    scores = [
        [small(max_epochs=40, random_state=seed).fit(T).score(new) for seed in range(3)]
        for T in (X, on_disk(X, tmp_path))
    ]
    spread = np.std(scores[0]) + np.std(scores[1])
    assert abs(np.mean(scores[0]) - np.mean(scores[1])) < 0.1 + 2 * spread


@pytest.mark.parametrize("batch_size", [7, 32, 1000])
@pytest.mark.parametrize("drop_last", [False, True])
def test_each_pass_has_every_row_once(batch_size, drop_last, tmp_path, tiny_blocks):
    X = table()
    X[:, 0] = np.arange(N_ROWS)
    layout = small(max_epochs=1).fit(X)._layout
    data = make_rows(DiskTable(on_disk(X, tmp_path)), layout.standardizer)
    assert isinstance(data, DiskRows)
    generator = rows.torch.Generator().manual_seed(0)
    passes = []
    for order in (None, generator, generator):
        batches = Shuffled(data, batch_size, order, drop_last)
        sizes = [len(batch.x) for batch in batches]
        assert sizes == batches.sizes
        assert len(batches) == len(sizes)
        x = np.concatenate(
            [batch.x.numpy()[:, 0] for batch in Shuffled(data, batch_size, order, drop_last)]
        )
        passes.append(np.rint(x * layout.standardizer.scale[0] + layout.standardizer.centre[0]))
    if not drop_last:
        for one in passes:
            np.testing.assert_array_equal(np.sort(one), np.arange(N_ROWS))
    np.testing.assert_array_equal(passes[0], np.arange(len(passes[0])))
    assert not np.array_equal(passes[1], passes[2])


def test_rules_take_one_pass(tmp_path, tiny_blocks, monkeypatch):
    """Whatever the number of columns; a broken one is named."""
    X, read = (table() > 0).astype(np.float64), [0]
    original = DiskTable.__getitem__

    def getitem(self, chosen):
        cells = original(self, chosen)
        read[0] += len(cells)
        return cells

    monkeypatch.setattr(DiskTable, "__getitem__", getitem)
    likelihoods = [Bernoulli()] * WIDTH
    check_values(DiskTable(on_disk(X, tmp_path)), likelihoods, None)
    assert read[0] == N_ROWS
    X[333, 2] = 7.0
    with pytest.raises(ValueError, match="Column 2 has likelihood Bernoulli"):
        small(likelihood="bernoulli").fit(on_disk(X, tmp_path))


def test_a_batch_holds_rows_from_many_places(tmp_path, tiny_blocks):
    """Of 7 pieces in a buffer a batch of 20 rows has 5 at least, and neighbours stand apart."""
    X = table()
    X[:, 0] = np.arange(N_ROWS)
    layout = small(max_epochs=1).fit(X)._layout
    data = make_rows(DiskTable(on_disk(X, tmp_path)), layout.standardizer)
    order = rows.torch.Generator().manual_seed(0)
    scale, centre = layout.standardizer.scale[0], layout.standardizer.centre[0]
    for batch in list(Shuffled(data, 20, order, False)):
        places = np.rint(batch.x.numpy()[:, 0] * scale + centre)
        assert len(np.unique(places // 8)) >= 4


def test_passes_over_the_file(tmp_path, tiny_blocks, monkeypatch):
    """One an epoch; before and behind, one each and samples."""
    M, read = on_disk(table(), tmp_path), [0]
    original = DiskTable.__getitem__

    def getitem(self, chosen):
        cells = original(self, chosen)
        read[0] += len(cells)
        return cells

    monkeypatch.setattr(DiskTable, "__getitem__", getitem)
    rows_read = []
    for max_epochs in (1, 3):
        read[0] = 0
        small(max_epochs=max_epochs, early_stopping=False).fit(M)
        rows_read.append(read[0])
    assert rows_read[1] - rows_read[0] == 2 * N_ROWS


@pytest.mark.parametrize("name", metrics.__all__)
def test_scorers_take_one(name, tmp_path, tiny_blocks):
    X = table()[:100]
    vae, scorer = small(max_epochs=2).fit(X), getattr(metrics, name)
    assert scorer(vae, on_disk(X, tmp_path)) == scorer(vae, X)


def test_a_table_as_numbers_takes_one(tmp_path):
    X = table(np.float64)
    found = TabularPreprocessor().fit(on_disk(X, tmp_path)).transform(on_disk(X, tmp_path))
    np.testing.assert_array_equal(found, TabularPreprocessor().fit(X).transform(X))


def test_a_view_and_another_order(tmp_path, tiny_blocks):
    X = table()
    M = on_disk(X, tmp_path)
    vae = small(max_epochs=2).fit(M)
    np.testing.assert_array_equal(vae.transform(M[50:90]), vae.transform(X[50:90]))
    np.testing.assert_array_equal(vae.transform(M[::7]), vae.transform(X[::7]))
    np.save(tmp_path / "turned.npy", np.asfortranarray(X))
    turned = np.load(tmp_path / "turned.npy", mmap_mode="r")
    np.testing.assert_array_equal(vae.transform(turned), vae.transform(X))
    small(max_epochs=2).fit(turned)


def test_what_was_written_is_read_whether_it_is_in_the_file_or_not(tmp_path, tiny_blocks):
    X = table()
    on_disk(X, tmp_path)
    vae = small(max_epochs=1).fit(X)
    for mode in ("c", "r+"):
        written = np.load(tmp_path / "table.npy", mmap_mode=mode)
        written[5:9] += 3.0
        changed = np.array(written)
        np.testing.assert_array_equal(vae.transform(written), vae.transform(changed))
        assert not np.array_equal(vae.transform(changed), vae.transform(X))


def test_what_joblib_shares_is_in_memory(tmp_path):
    folder = tmp_path / disk.JOBLIBS
    folder.mkdir()
    assert not disk.is_on_disk(on_disk(table(), folder))
    assert disk.is_on_disk(on_disk(table(), tmp_path))
    assert not disk.is_on_disk(on_disk(table(), tmp_path) + 1)


def test_infinity_is_named(tmp_path, tiny_blocks):
    X = table()
    X[333, 2] = np.inf
    for call in (small().fit, small(max_epochs=1).fit(table()).transform):
        with pytest.raises(ValueError, match="column 2 holds inf in row 333"):
            call(on_disk(X, tmp_path))


def test_levels_are_refused(tmp_path):
    M = on_disk(table(bool), tmp_path)
    with pytest.raises(ValueError, match="memmap"):
        small(categorical_features=[0]).fit(M)


def test_other_ways_to_train(tmp_path, tiny_blocks):
    X = table()
    M = on_disk(X, tmp_path)
    vae = small(max_epochs=2, memory=tmp_path / "kept").fit(M)
    again = small(max_epochs=2, memory=tmp_path / "kept").fit(M)
    np.testing.assert_array_equal(vae.transform(M), again.transform(M))
    for view in (M[:300], M[100:]):  # tables of one shape in one file
        small(max_epochs=2, memory=tmp_path / "views").fit(view)
    assert len(list((tmp_path / "views").iterdir())) == 2
    vae.set_params(warm_start=True, memory=None).fit(M).partial_fit(M)
    assert vae.n_iter_ == 5
    for params in ({"neighbor_weight": 1.0, "n_neighbors": 3}, {"likelihood": {0: "student_t"}}):
        assert np.isfinite(small(max_epochs=2, **params).fit(M).score(X))
    loader = {"net_params": {"iterator_train__num_workers": 0, "iterator_train__shuffle": False}}
    assert np.isfinite(small(max_epochs=2, **loader).fit(M).score(X))
    assert np.isfinite(small(max_epochs=2).fit(X[:50], X_val=M).score(X))
