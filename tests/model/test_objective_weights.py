"""Which weights the objective takes, and what it says of the others."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sk_infovae._model.objective import check_weights, coefficients


@pytest.mark.parametrize(
    ("alpha", "lambd"), [(0, 1), (1, 1), (1, 1e-9), (1.0, 1e4), (0.5, 0.5), (-3, 4), (0.9, 0.1)]
)
def test_weights_on_the_boundary_are_allowed(alpha, lambd):
    check_weights(alpha, lambd)
    assert min(coefficients(alpha, lambd)) >= 0


@given(tenths=st.integers(1, 10_000), digits=st.integers(1, 4))
@settings(max_examples=300, deadline=None)
@example(tenths=14, digits=1)
def test_every_beta_vae_is_allowed(tenths, digits):
    """alpha = 1 - beta and lambd = beta, typed as decimals: -0.4 + 1.4 is not 1 in floats."""
    scale = 10**digits
    check_weights((scale - tenths) / scale, tenths / scale)
    check_weights(1 - tenths / scale, tenths / scale)


@pytest.mark.parametrize(
    ("alpha", "lambd", "says"),
    [
        (1.5, 1.0, r"^alpha must be at most 1, got alpha=1\.5.*Choose alpha <= 1"),
        (math.nextafter(1, 2), 1.0, r"^alpha must be at most 1, got alpha=1\.0000000000000002"),
        (math.inf, 1.0, r"^alpha must be at most 1, got alpha=inf"),
        (math.nan, 1.0, r"^alpha must be at most 1, got alpha=nan"),
        (1.0, 0.0, r"^lambd must be positive and finite, got lambd=0\.0.*Choose lambd > 0"),
        (1, -2, r"^lambd must be positive and finite, got lambd=-2.*Choose lambd > 0"),
        (0.5, math.inf, r"^lambd must be positive and finite, got lambd=inf"),
        (0.5, math.nan, r"^lambd must be positive and finite, got lambd=nan"),
        (0.25, 0.5, r"^alpha \+ lambd .*alpha=0\.25 and lambd=0\.5.*Choose lambd >= 0\.75"),
        (-math.inf, 1.0, r"^alpha \+ lambd .*alpha=-inf and lambd=1\.0"),
    ],
)
def test_weights_outside_are_refused_by_name_with_a_mend(alpha, lambd, says):
    with pytest.raises(ValueError, match=says):
        check_weights(alpha, lambd)


@given(alpha=st.floats(-1e8, 0.999))
@settings(max_examples=200, deadline=None)
def test_following_the_mend_is_accepted(alpha):
    """The lambd that the message proposes is one that passes."""
    with pytest.raises(ValueError, match="Choose lambd >= ") as refusal:
        check_weights(alpha, (1 - alpha) / 2)
    check_weights(alpha, float(str(refusal.value).split("lambd >= ")[1].split()[0]))
