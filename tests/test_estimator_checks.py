"""scikit-learn's own checks, those that it yields and those that it keeps back."""

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy
import sklearn
import torch
from sklearn.base import clone
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.fixes import parse_version

from sk_infovae import InfoVAETransformer

SMALL = InfoVAETransformer(hidden_layer_sizes=(8,), max_epochs=3, n_importance_samples=16)

NOT_YIELDED = [
    "check_param_validation",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_global_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_get_feature_names_out_error",
    "check_dataframe_column_names_consistency",
]

ARRAY_API = """
import inspect
import numpy as np
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_array_api_input
from sk_infovae import InfoVAETransformer

vae = InfoVAETransformer(hidden_layer_sizes=(8,), max_epochs=3, n_importance_samples=16,
                         random_state=0)
settings = {"array_namespace": "numpy", "expect_only_array_outputs": False, "check_values": True}
known = inspect.signature(check_array_api_input).parameters
check_array_api_input("InfoVAETransformer", vae, **{k: settings[k] for k in settings if k in known})

X = np.random.default_rng(0).normal(size=(40, 3))
for table in (X, X.astype(np.float32), X > 0):
    tensor = torch.from_numpy(table)
    plain = clone(vae).fit(table)
    with config_context(array_api_dispatch=True):
        ours = clone(vae).fit(tensor)
        Z = ours.transform(tensor)
        scores = ours.score_samples(tensor)
        back = ours.inverse_transform(torch.from_numpy(Z))
    np.testing.assert_array_equal(Z, plain.transform(table))
    np.testing.assert_array_equal(scores, plain.score_samples(table))
    np.testing.assert_array_equal(back, plain.inverse_transform(plain.transform(table)))
    assert back.dtype == plain.inverse_transform(Z).dtype
print("array API: as numpy")
"""


@parametrize_with_checks([SMALL])
def test_check_of_scikit_learn(estimator, check):
    check(estimator)


# The set_output checks fit on a frame and transform an array, and the other way round, which
# scikit-learn warns of for every estimator.
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names:UserWarning")
@pytest.mark.parametrize("name", NOT_YIELDED)
def test_check_that_scikit_learn_does_not_yield(name):
    check = getattr(estimator_checks, name, None)
    if check is None:
        pytest.skip(f"scikit-learn {sklearn.__version__} has no {name}")
    check("InfoVAETransformer", clone(SMALL))


@pytest.mark.skipif(
    parse_version(scipy.__version__) < parse_version("1.14"),
    reason="scikit-learn's array API dispatch needs scipy 1.14",
)
def test_array_api_dispatch_changes_nothing():
    # SCIPY_ARRAY_API is read when scipy is imported: a process of its own.
    done = subprocess.run(
        [sys.executable, "-c", ARRAY_API],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "array API: as numpy" in done.stdout


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, bool])
def test_cpu_tensor_gives_the_result_of_its_array(dtype):
    X = (3 * np.random.default_rng(0).normal(size=(40, 3))).astype(dtype)
    tensor = torch.from_numpy(X)
    from_array, from_tensor = (
        clone(SMALL).set_params(random_state=0).fit(table) for table in (X, tensor)
    )
    Z = from_array.transform(X)
    np.testing.assert_array_equal(from_tensor.transform(tensor), Z)
    np.testing.assert_array_equal(from_tensor.score_samples(tensor), from_array.score_samples(X))
    back = from_tensor.inverse_transform(torch.from_numpy(Z))
    np.testing.assert_array_equal(back, from_array.inverse_transform(Z))
    assert back.dtype == from_array.inverse_transform(Z).dtype
