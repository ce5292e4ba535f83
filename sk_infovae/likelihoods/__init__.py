"""Likelihoods p(x|z) of a column given the decoder's outputs.

One file a family. To add one: write the class in a file of its own and name it in
``LIKELIHOODS``; the contract tests run on it by themselves.
"""

from sk_infovae.likelihoods.base import ConstantModel, Likelihood
from sk_infovae.likelihoods.bernoulli import Bernoulli
from sk_infovae.likelihoods.categorical import Categorical
from sk_infovae.likelihoods.gaussian import Gaussian
from sk_infovae.likelihoods.lognormal import LogNormal
from sk_infovae.likelihoods.negative_binomial import NegativeBinomial
from sk_infovae.likelihoods.ordinal import Ordinal
from sk_infovae.likelihoods.poisson import Poisson
from sk_infovae.likelihoods.product import ColumnLikelihoods
from sk_infovae.likelihoods.student_t import StudentT

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "gaussian": Gaussian,
    "bernoulli": Bernoulli,
    "student_t": StudentT,
    "lognormal": LogNormal,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
    "categorical": Categorical,
    "ordinal": Ordinal,
}

__all__ = [
    "LIKELIHOODS",
    "Bernoulli",
    "Categorical",
    "ColumnLikelihoods",
    "ConstantModel",
    "Gaussian",
    "Likelihood",
    "LogNormal",
    "NegativeBinomial",
    "Ordinal",
    "Poisson",
    "StudentT",
]
