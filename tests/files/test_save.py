"""`save` and `load`: the same model, whatever it was made of and whatever was set since."""

import copy
import datetime
import io
import os
import pickle
import stat
from functools import partial
from pathlib import Path

import cloudpickle
import mutations
import numpy as np
import own_parts
import pandas as pd
import pytest
import skops.io
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch.callbacks import GradientNormClipping, LRScheduler
from torch import nn

from sk_infovae import InfoVAETransformer
from sk_infovae._files import container, model
from sk_infovae._files.model import KIND, KNOWN, PROTOCOL
from sk_infovae.divergences import KSD, MMD, Adversarial, SlicedWasserstein
from sk_infovae.exceptions import ModelFileError
from sk_infovae.likelihoods import Gaussian, StudentT

PLANTED = 123456.78125  # float32 holds it

CODES = [[-1.2451, -1.3497], [-1.0635, -1.8820], [-1.5174, 0.6049]]
SCORE = -10.186


def small(**params):
    defaults = {"hidden_layer_sizes": (6,), "max_epochs": 2, "batch_size": 16, "random_state": 0}
    return InfoVAETransformer(**(defaults | {"n_importance_samples": 8} | params))


def table(n_rows=40, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(
        size=(n_rows, 4)
    )


def saved(vae):
    file = io.BytesIO()
    vae.save(file)
    return file.getvalue()


def through_a_file(vae, trusted=()):
    return InfoVAETransformer.load(io.BytesIO(saved(vae)), trusted)


def same(one, other, X):
    """Every answer, to the bit."""
    for name in ("transform", "score_samples", "impute"):
        found = [getattr(vae, name)(X) for vae in (one, other)]
        np.testing.assert_array_equal(*found)
    np.testing.assert_array_equal(*(vae.sample(5, random_state=3) for vae in (one, other)))
    for name in ("noise_variance_", "explained_variance_ratio_", "loadings_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.history_ == other.history_
    assert one.n_iter_ == other.n_iter_


PARTS = {
    "defaults": {},
    "nothing hidden": {"hidden_layer_sizes": ()},
    "widths in a list": {"hidden_layer_sizes": [4, 3]},
    "kernels": {"divergence": MMD("imq", bandwidth=(0.5, 2.0))},
    "a critic": {"divergence": Adversarial((3,), gradient_penalty=0.1)},
    "slices": {"divergence": SlicedWasserstein(3)},
    "ksd": {"divergence": KSD("gaussian", bandwidth=2.0)},
    "likelihoods": {"likelihood": {0: "student_t", 2: Gaussian("learned", floor=1e-3)}},
    "a tail": {"likelihood": StudentT()},
    "neighbours": {"neighbor_weight": 3.0, "n_neighbors": 4},
    "a class of torch": {"activation": nn.LeakyReLU},
    "part of one": {"activation": partial(nn.LeakyReLU, 0.2)},
    "another optimizer": {
        "net_params": {"optimizer": torch.optim.AdamW, "optimizer__weight_decay": 0.1}
    },
    "clipping": {"net_params": {"callbacks": [GradientNormClipping(2.0)]}},
    "levels": {"categorical_features": [1], "likelihood": {1: "ordinal"}},
    "a mask": {"categorical_features": np.array([True, False, False, False])},
    "a generator": {"random_state": np.random.RandomState(5)},
    "a device": {"device": torch.device("cpu")},
}


@pytest.mark.parametrize("parts", PARTS)
def test_every_part(parts):
    X = table().round(1)
    X[::7, 3] = np.nan
    vae = small(**PARTS[parts]).fit(X)
    loaded = through_a_file(vae)
    same(vae, loaded, X)
    assert saved(loaded) == saved(vae)


OURS = "sk_infovae.estimator.InfoVAETransformer"


@pytest.mark.parametrize("parts", PARTS)
def test_skops_asks_for_trust_in_one_type(parts):
    """All that fit left travels as bytes; parameters as they are."""
    X, params = table().round(1), PARTS[parts]
    vae = small(**params).fit(X)
    data = skops.io.dumps(vae)
    asked = skops.io.get_untrusted_types(data=data)
    assert OURS in asked
    assert set(asked) <= {OURS, *kinds_in(params)}
    same(vae, skops.io.loads(data, trusted=asked), X)


def kinds_in(params):
    """Names of the classes in a parameter, as skops writes them."""
    for value in params.values() if isinstance(params, dict) else params:
        if isinstance(value, dict | list | tuple):
            yield from kinds_in(value)
        else:
            kinds = [value if isinstance(value, type) else type(value)]
            kinds += [value.func] if isinstance(value, partial) else []
            yield from (f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)


def test_skops_takes_a_pipeline_on_a_frame():
    X = pd.DataFrame(table().round(1), columns=list("abcd"))
    X["e"] = pd.Categorical(np.where(X["a"] > 0, "u", "v"))
    pipeline = make_pipeline(FunctionTransformer(), small()).fit(X)
    data = skops.io.dumps(pipeline)
    assert skops.io.get_untrusted_types(data=data) == [OURS]
    loaded = skops.io.loads(data, trusted=[OURS])
    np.testing.assert_array_equal(loaded.transform(X), pipeline.transform(X))
    assert loaded.score(X) == pipeline.score(X)


def test_a_pickle_carries_what_no_file_can_name():
    X = table()
    width = 4

    def encoder(n_inputs, n_components):
        return nn.Sequential(nn.Linear(n_inputs, width), nn.Linear(width, 2 * n_components))

    vae = small(encoder=encoder, decoder=lambda n, k: nn.Linear(n, k)).fit(X)
    with pytest.raises(ModelFileError, match="import finds"):
        saved(vae)
    same(vae, pickle.loads(cloudpickle.dumps(vae)), X)
    same(vae, copy.deepcopy(vae), X)


def test_a_pickle_of_an_older_protocol_is_upgraded_as_a_file_is(monkeypatch):
    X = table()
    vae = small().fit(X)
    state, seen = pickle.dumps(vae), []
    monkeypatch.setattr(model, "PROTOCOL", PROTOCOL + 1)
    monkeypatch.setitem(model.UPGRADES, PROTOCOL, lambda old: (seen.append(1), old)[1])
    np.testing.assert_array_equal(pickle.loads(state).transform(X), vae.transform(X))
    assert seen == [1]


ODD_NAMES = {
    "periods": pd.period_range("2020", periods=4, freq="M"),
    "holidays": pd.date_range(
        "2020-01-01", periods=4, freq=pd.offsets.CustomBusinessDay(holidays=["2020-01-02"])
    ),
    "a zone without a name": pd.date_range(
        "2020", periods=4, tz=datetime.timezone(datetime.timedelta(hours=5), "MYTZ")
    ),
}


@pytest.mark.parametrize("kind", ODD_NAMES)
def test_names_that_no_file_holds_are_carried_by_a_pickle(kind):
    X = pd.DataFrame(table(), columns=ODD_NAMES[kind])
    vae = small().fit(X)
    twin = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(twin.transform(X), vae.transform(X))
    pd.testing.assert_frame_equal(twin.impute(X), vae.impute(X))
    with pytest.raises(ModelFileError, match="can't hold"):
        saved(vae)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("divergence", ["mmd", "adversarial"])
def test_training_goes_on_as_without_a_file(method, divergence):
    X = table()
    vae = small(warm_start=True, divergence=divergence, alpha=1.0)
    getattr(vae, method)(X)
    loaded = through_a_file(vae)
    for one in (vae, loaded):
        getattr(one, method)(X)
    same(vae, loaded, X)


def test_moments_are_kept_only_where_training_goes_on():
    X = table()
    sizes = {}
    for name, vae in {
        "fit": small().fit(X),
        "warm": small(warm_start=True).fit(X),
        "passes": small().partial_fit(X),
    }.items():
        sizes[name] = len(saved(vae)), len(pickle.dumps(vae))
    weights = sum(4 * value.numel() for value in small().fit(X).net_.weights().values())
    for k in (0, 1):
        assert sizes["fit"][k] + 1.9 * weights < sizes["warm"][k]
        assert sizes["fit"][k] + 1.9 * weights < sizes["passes"][k]


def test_parameters_are_those_set_since_and_the_model_that_of_the_fit():
    X = table()
    vae = small().fit(X)
    Z = vae.transform(X)
    vae.set_params(hidden_layer_sizes=(9, 9), divergence="ksd", likelihood="nonsense", lr=7.0)
    loaded = through_a_file(vae)
    np.testing.assert_array_equal(loaded.transform(X), Z)
    assert loaded.get_params() == vae.get_params()


def test_an_estimator_that_was_not_fitted():
    loaded = through_a_file(small(alpha=0.3, n_components=5))
    assert loaded.get_params() == small(alpha=0.3, n_components=5).get_params()
    assert not hasattr(loaded, "net_")


def test_output_containers_and_names():
    X = pd.DataFrame(table(), columns=list("abcd"))
    vae = small().set_output(transform="pandas").fit(X)
    loaded = through_a_file(vae)
    pd.testing.assert_frame_equal(loaded.transform(X), vae.transform(X))
    np.testing.assert_array_equal(loaded.feature_names_in_, vae.feature_names_in_)
    pd.testing.assert_frame_equal(loaded.impute(X), X)


OWN = {
    "networks": (
        {"encoder": own_parts.encoder, "decoder": partial(own_parts.decoder, width=4)},
        [own_parts.encoder, own_parts.decoder],
    ),
    "activation": ({"activation": own_parts.Squash}, [own_parts.Squash]),
    "likelihood": ({"likelihood": own_parts.OwnGaussian()}, [own_parts.OwnGaussian]),
    "divergence": ({"divergence": own_parts.OwnMMD()}, [own_parts.OwnMMD]),
    "callback": ({"net_params": {"callbacks": [LRScheduler]}}, [LRScheduler]),
}


@pytest.mark.parametrize("part", OWN)
def test_parts_of_the_users_own_are_loaded_only_on_trust(part):
    params, trusted = OWN[part]
    X = table()
    vae = small(**params).fit(X)
    with pytest.raises(
        ModelFileError, match=r"asks for .*:\w+, which is not .*trusted=\["
    ) as found:
        through_a_file(vae)
    assert any(one.__name__ in str(found.value) for one in trusted)
    same(vae, through_a_file(vae, trusted), X)


def test_a_part_that_has_moved_is_given_by_its_old_name():
    X = table()
    vae = small(encoder=own_parts.encoder).fit(X)
    loaded = through_a_file(vae, {"own_parts:encoder": own_parts.encoder})
    same(vae, loaded, X)
    with pytest.raises(ModelFileError, match=r"trusted=.'own_parts:encoder': "):
        through_a_file(vae, {"elsewhere:encoder": own_parts.encoder})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"activation": lambda: nn.Tanh()}, "that import finds"),
        ({"divergence": own_parts.WithMemory()}, r"attributes \['seen'\] are no param"),
        ({"net_params": {"history": object()}}, "can't hold net_params"),
    ],
)
def test_what_no_file_can_hold_is_said_and_nothing_is_written(tmp_path, params, message):
    path = tmp_path / "model"
    path.write_bytes(b"as it was")
    with pytest.raises(ModelFileError, match=message):
        small(**params).save(path)
    assert path.read_bytes() == b"as it was"
    assert os.listdir(tmp_path) == ["model"]


def test_a_path_is_replaced_in_one_step(tmp_path, monkeypatch):
    X, path = table(), tmp_path / "model.safetensors"
    first, second = small().fit(X), small(random_state=1).fit(X)
    first.save(path)
    os.chmod(path, 0o640)

    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            second.save(path)
    same(InfoVAETransformer.load(path), first, X)
    assert os.listdir(tmp_path) == [path.name]
    second.save(str(path))
    same(InfoVAETransformer.load(str(path)), second, X)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "model", tmp_path / "link"
    small().save(target)
    link.symlink_to(target)
    small(alpha=0.9).save(link)
    assert link.is_symlink()
    assert InfoVAETransformer.load(target).alpha == 0.9


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        small().save(tmp_path / "nowhere" / "model")
    with pytest.raises(FileNotFoundError):
        InfoVAETransformer.load(tmp_path / "nothing")


def test_no_training_row_is_in_the_file():
    X = table(400)
    X[:, 0] = np.float32(X[:, 0])
    X[7, 0] = PLANTED  # neither the least nor the largest, which a model keeps
    X[8, 0], X[9, 0] = 2 * PLANTED, -2 * PLANTED
    vae = small(neighbor_weight=1.0, warm_start=True).fit(X)
    for data in (saved(vae), pickle.dumps(vae)):
        for kind in ("<f8", "<f4"):
            assert np.array(PLANTED, kind).tobytes() not in data
        assert str(PLANTED).encode() not in data


def test_bytes_are_the_same_each_time_and_say_nothing_of_the_machine():
    X = table()
    vae = small().fit(X)
    assert saved(vae) == saved(vae)
    _, described, _ = container.unpack(saved(vae), KIND, PROTOCOL)
    assert set(described["libraries"]) == {"sk_infovae", "torch", "scikit-learn", "skorch", "numpy"}


def test_another_device_is_the_cpu_where_it_is_not_there():
    vae = small().fit(table())
    object.__setattr__(vae._plan, "device", "cuda:7")
    assert through_a_file(vae).net_.device == "cpu"


def test_known_classes_have_names_of_their_own():
    assert len({one.__name__ for one in KNOWN}) == len(set(KNOWN))


def test_a_file_of_every_protocol_is_read_for_ever():
    """It holds `mutations.model`; what that was is written down here."""
    file = Path(__file__).with_name("protocol_1.safetensors")
    vae, (_, X) = InfoVAETransformer.load(file), mutations.model()
    np.testing.assert_allclose(vae.transform(X)[:3], CODES, atol=1e-3)
    assert vae.inverse_transform(vae.transform(X)).columns.tolist() == X.columns.tolist()
    assert vae.score(X) == pytest.approx(SCORE, abs=0.05)
    assert sorted(file.parent.glob("protocol_*.safetensors"))[-1].stem == f"protocol_{PROTOCOL}"
