"""Three columns of every likelihood and its variants, for the laws that all of them obey.

A law about one column masks the other two, so that it needs to know nothing about how a family
lays out its outputs. What a family's values are (real, positive, counts, levels) is read off
`Likelihood.in_support`.
"""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from sk_infovae.likelihoods import (
    LIKELIHOODS,
    Categorical,
    Gaussian,
    Likelihood,
    NegativeBinomial,
    Ordinal,
    Poisson,
)

INSTANCES = {
    name: cls().bind(4) if cls.has_levels else cls() for name, cls in LIKELIHOODS.items()
} | {
    "gaussian-floor": Gaussian(floor=0.5),
    "gaussian-optimal": Gaussian("optimal"),
    "gaussian-fixed": Gaussian(0.5),
    "gaussian-shared": Gaussian(shared=True),
    "gaussian-fixed-shared": Gaussian(0.5, shared=True),
    "gaussian-own-units": Gaussian(standardised=False),
    "poisson-offset": Poisson(offset="total"),
    "negative_binomial-offset": NegativeBinomial(offset="total"),
    "categorical-single": Categorical(1),
    "categorical-pair": Categorical(2),
    "categorical-capped": Categorical(12, max_outputs=4),
    "categorical-all-rare": Categorical(5, max_outputs=1),
    "ordinal-single": Ordinal(1),
    "ordinal-pair": Ordinal(2),
    "ordinal-many": Ordinal(12),
}


def over(instances):
    """Run a test for each of these; ids are their names."""
    return pytest.mark.parametrize(
        "likelihood", [pytest.param(one, id=name) for name, one in instances.items()]
    )


over_likelihoods = over(INSTANCES)

N_COLUMNS = 3
over_columns = pytest.mark.parametrize("column", range(N_COLUMNS))


class Block(NamedTuple):
    """A likelihood of three columns with parameters and one row of outputs, in float64."""

    likelihood: Likelihood
    parameters: dict[str, Tensor]
    outputs: Tensor

    def rows(self, n):
        """The same outputs for n rows."""
        return self.outputs.expand(n, -1)

    def mean(self):
        """Expected x of every column, or the probabilities of its levels."""
        mean = self.likelihood.mean(self.outputs[None], self.parameters)[0]
        return mean.unflatten(0, (N_COLUMNS, -1)) if self.likelihood.has_levels else mean

    def log_prob_of(self, column, values, outputs=None):
        """log p of ``values (n,)`` in one column; the other two are missing."""
        mask = one_hot(column)
        x = values[:, None] * mask + (1 - mask)
        outputs = self.rows(len(values)) if outputs is None else outputs
        return self.likelihood.log_prob(x, outputs, self.parameters, mask.expand_as(x))


def one_hot(column):
    return torch.eye(N_COLUMNS, dtype=torch.float64)[column]


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def uniform(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)


def make_block(likelihood, seed=0):
    """Outputs and parameters away from their starting values."""
    parameters = {
        name: value.detach().double() + 0.3 * normal(*value.shape, seed=seed + 1)
        for name, value in likelihood.init_parameters(N_COLUMNS).items()
    }
    if "log_share" in parameters:
        parameters["log_share"] = parameters["log_share"].log_softmax(-1)
    return Block(likelihood, parameters, normal(likelihood.n_outputs(N_COLUMNS), seed=seed))


def learned(likelihood):
    """Names of the parameters that follow the gradient."""
    start = likelihood.init_parameters(N_COLUMNS)
    return [
        name
        for name, value in start.items()
        if value.requires_grad or not isinstance(value, torch.nn.Parameter)
    ]


def allows(likelihood, value):
    return bool(likelihood.in_support(torch.tensor([value], dtype=torch.float64)))


def is_continuous(likelihood):
    return allows(likelihood, 0.5)


STEPS = torch.linspace(-40, 40, 4001, dtype=torch.float64)
STEP = 80 / 4000


def below(values, real):
    """Nodes and weights that integrate up to each value, from -inf or from 0.

    The trapezoidal rule after these substitutions converges exponentially for smooth densities.
    """
    values = values[:, None]
    if real:
        return values - STEPS.exp(), STEP * STEPS.exp().expand(len(values), -1)
    return between(torch.zeros(1).double(), values[:, 0])


def between(low, high):
    """Nodes and weights that integrate from each low to each high."""
    width, share = (high - low)[:, None], STEPS.sigmoid()
    return low[:, None] + width * share, STEP * width * share * (-STEPS).sigmoid()


def median(block, column):
    """Where a density may have a kink: no rule crosses it."""
    half = torch.full((1, N_COLUMNS), 0.5).double()
    return block.likelihood.sample(block.rows(1), block.parameters, half)[:, column]


def support(block, column):
    """Nodes and weights that integrate over a continuous support, or sum over a discrete one."""
    if not is_continuous(block.likelihood):
        counts = torch.arange(2000, dtype=torch.float64)
        counts = counts[block.likelihood.in_support(counts)]
        return counts, torch.ones_like(counts)
    centre = median(block, column)
    nodes, weights = below(centre, allows(block.likelihood, -1.0))
    above = STEPS.exp()
    return torch.cat([nodes[0], centre + above]), torch.cat([weights[0], STEP * above])


def distribution_function(block, column, values):
    """P(x <= value): a sum, or the integral over what lies below each value."""
    if not is_continuous(block.likelihood):
        nodes, _ = support(block, column)
        probability = block.log_prob_of(column, nodes).exp()
        return (probability * (nodes <= values[:, None])).sum(-1)
    centre = median(block, column)
    parts = [
        below(values.minimum(centre), allows(block.likelihood, -1.0)),
        between(centre, values.maximum(centre)),
    ]
    return sum(
        (weights * block.log_prob_of(column, nodes.reshape(-1)).exp().reshape(nodes.shape)).sum(-1)
        for nodes, weights in parts
    )


def draw(block, n, seed=0):
    return block.likelihood.sample(
        block.rows(n), block.parameters, uniform(n, N_COLUMNS, seed=seed)
    )
