"""The prior's density, against SciPy's."""

import numpy as np
import pytest
import torch
from scipy import stats

from sk_infovae._base.posterior import standard_normal_log_density


@pytest.mark.parametrize("shape", [(3,), (5, 1), (2, 4, 3)])
def test_density_of_the_prior_is_scipys(shape):
    z = 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = standard_normal_log_density(z)
    assert found.shape == shape[:-1]
    np.testing.assert_allclose(found, stats.norm.logpdf(z).sum(-1), rtol=1e-12)
