"""A Pipeline as one graph, by skl2onnx."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sk_infovae import InfoVAETransformer
from sk_infovae.onnx import register_converter

onnxruntime = pytest.importorskip("onnxruntime")
skl2onnx = pytest.importorskip("skl2onnx")
pytestmark = pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6), reason="needs torch 2.6"
)
rng = np.random.default_rng(0)
X = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(size=(60, 4))
FRAME = pd.DataFrame({"age": X[:, 0], "town": rng.choice(["Oslo", "Rome"], 60), "size": X[:, 1]})
FRAME.loc[::9, "age"] = np.nan
Y = (X[:, 0] > 0).astype(int)


@pytest.fixture(autouse=True)
def registered():
    register_converter()


def small(**params):
    defaults = {"hidden_layer_sizes": (6,), "max_epochs": 2, "random_state": 0}
    return InfoVAETransformer(**(defaults | params))


def types_of(frame):
    from skl2onnx.common.data_types import DoubleTensorType, StringTensorType

    kinds = {True: DoubleTensorType, False: StringTensorType}
    return [(name, kinds[frame[name].dtype.kind == "f"]([None, 1])) for name in frame.columns]


def run(pipeline, X, initial_types=None):
    model = skl2onnx.to_onnx(
        pipeline, X if initial_types is None else None, initial_types=initial_types,
        options={"zipmap": False} if hasattr(pipeline, "predict") else None,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(model.SerializeToString())
    if initial_types is None:
        return session.run(None, {session.get_inputs()[0].name: X})
    return session.run(
        None,
        {
            name: X[[name]].to_numpy(float if X[name].dtype.kind == "f" else object)
            for name in X.columns
        },
    )


PIPELINES = {
    "alone": small(),
    "behind a scaler": make_pipeline(StandardScaler(), small(n_components=3)),
    "before a classifier": make_pipeline(small(), LogisticRegression()),
    "twice": make_pipeline(small(n_components=3), small()),
    "beside PCA": FeatureUnion([("pca", PCA(2)), ("vae", small()), ("other", small(alpha=0.0))]),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PIPELINES)
def test_arrays(name, dtype):
    table = X.astype(dtype)
    pipeline = PIPELINES[name].fit(table, Y)
    found = run(pipeline, table)
    if hasattr(pipeline, "predict"):
        np.testing.assert_array_equal(found[0], pipeline.predict(table))
        np.testing.assert_allclose(found[1], pipeline.predict_proba(table), rtol=1e-4, atol=1e-5)
    else:
        np.testing.assert_allclose(found[0], pipeline.transform(table), rtol=1e-4, atol=1e-5)


def test_columns_by_name_before_a_classifier():
    pipeline = make_pipeline(small(), LogisticRegression()).fit(FRAME, Y)
    label, p = run(pipeline, FRAME, types_of(FRAME))
    np.testing.assert_array_equal(label, pipeline.predict(FRAME))
    np.testing.assert_allclose(p, pipeline.predict_proba(FRAME), rtol=1e-4, atol=1e-5)


def test_behind_a_column_transformer_that_gives_an_array():
    columns = ColumnTransformer(
        [("levels", OneHotEncoder(), ["town"]), ("numbers", StandardScaler(), ["size"])],
        sparse_threshold=0,
    )
    table = FRAME[["town", "size"]]
    pipeline = make_pipeline(columns, small()).fit(table)
    (found,) = run(pipeline, table, types_of(table))
    np.testing.assert_allclose(found, pipeline.transform(table), rtol=1e-4, atol=1e-5)


def test_numbers_of_a_frame_side_by_side():
    frame = pd.DataFrame(X, columns=list("abcd"))
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), small()).fit(frame)
    model = skl2onnx.to_onnx(pipeline, X[:1])
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run(None, {"X": X})
    np.testing.assert_allclose(found, pipeline.transform(frame), rtol=1e-4, atol=1e-5)


def test_other_columns_are_refused():
    from skl2onnx.common.data_types import DoubleTensorType

    vae = small().fit(FRAME)
    for types in (types_of(FRAME[["age", "town"]]), [("X", DoubleTensorType([None, 3]))]):
        with pytest.raises(ValueError, match="takes each column by its name"):
            skl2onnx.to_onnx(vae, initial_types=types)


def test_without_skl2onnx_it_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"sk-infovae\[onnx\]"):
        register_converter()
