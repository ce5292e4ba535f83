"""Every public method and scorer x every likelihood x divergence x kind of table x way of fitting.

Not the full product, but cases that hold each pair of values (slow: each triple). What is owed for
a case, an answer or which error, follows from the documentation by the rules of `table_cases`.
"""

import inspect
from functools import cache

import pytest
from checks import CHECKS, Fitted
from table_cases import FAMILIES, cases, make_table, may_diverge, refusals, train

from sk_infovae import InfoVAETransformer, metrics
from sk_infovae.exceptions import TrainingDivergedError
from sk_infovae.likelihoods import LIKELIHOODS

pytestmark = pytest.mark.filterwarnings("ignore:.*free text:UserWarning")

PARTS = 8
PAIRS, REFUSED = cases(2, refused=False), cases(2, refused=True)


@cache
def fitted(case):
    """The model of a case, which its checks share; None where a far cell broke the training."""
    try:
        return Fitted(case)
    except TrainingDivergedError as error:
        if not (may_diverge(case) and "look for extreme values in X" in str(error)):
            raise
        return None


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", PAIRS, ids=str)
def test_every_pair(case, check):
    if fitted(case) is None:
        pytest.skip("a far cell broke the training, as documented")
    CHECKS[check](fitted(case))


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_the_documentation_refuses_is_refused(case):
    X = make_table(case)
    with pytest.raises(tuple(refusals(case))) as found:
        train(case, X)
    assert found.type in refusals(case)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_triple(part):
    failed = []
    for case in cases(3, refused=False)[part::PARTS]:
        try:
            one = Fitted(case)
        except TrainingDivergedError as error:
            if not may_diverge(case):
                failed.append(f"{case}: fit: {error!r}")
            continue
        except Exception as error:
            failed.append(f"{case}: fit: {error!r}")
            continue
        for name, check in CHECKS.items():
            try:
                check(one)
            except (Exception, pytest.fail.Exception) as error:
                failed.append(f"{case}: {name}: {type(error).__name__}: {str(error)[:300]}")
    assert not failed, "\n".join(failed)


def test_nothing_public_is_left_out():
    """A method or scorer that is new wants a check here, and a likelihood a rule."""
    methods = {
        name
        for name, _ in inspect.getmembers(InfoVAETransformer, callable)
        if not name.startswith(("_", "set_", "get_"))
    }
    elsewhere = {"fit", "partial_fit", "fit_transform", "export_onnx"}  # files/test_onnx.py
    assert methods - elsewhere | set(metrics.__all__) <= set(CHECKS)
    assert set(FAMILIES) == set(LIKELIHOODS)
