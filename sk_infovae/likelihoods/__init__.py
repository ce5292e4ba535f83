"""Likelihoods p(x|z) of a column given the decoder's outputs.

One file a family. To add one: write the class in a file of its own and name it in
``LIKELIHOODS``; the contract tests run on it by themselves.
"""

from sk_infovae.likelihoods.base import Likelihood
from sk_infovae.likelihoods.bernoulli import Bernoulli
from sk_infovae.likelihoods.columns import ColumnLikelihoods
from sk_infovae.likelihoods.gaussian import Gaussian

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "gaussian": Gaussian,
    "bernoulli": Bernoulli,
}

__all__ = ["LIKELIHOODS", "Bernoulli", "ColumnLikelihoods", "Gaussian", "Likelihood"]
