"""What a divergence is, and what it sees of a batch."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from numbers import Real
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from sk_infovae._base.parameters import Parameterized
from sk_infovae._base.posterior import Posterior


class Codes(NamedTuple):
    """What a divergence sees of a batch of rows x; of K models' batches with a first axis of K.

    Parameters
    ----------
    z : Tensor of shape (..., batch, n_components)
        One draw from q(z|x) for each row.
    posterior : Posterior
        Mean and log-variance of the same q(z|x).
    noise : Tensor of shape (..., noise_rows, n_components) or None
        Further standard normal draws, as many as `Divergence.noise_rows` asks for.
    n_rows : int or None
        Rows of the data set that the batch was drawn from; None: the batch is the data set.
    parameters : mapping of str to Tensor
        What `Divergence.init_parameters` made, as far as it has been learned; K models' have a
        first axis of K.
    """

    z: Tensor
    posterior: Posterior
    noise: Tensor | None = None
    n_rows: int | None = None
    parameters: Mapping[str, Tensor] = MappingProxyType({})


class Divergence(Parameterized, ABC):
    """D(q(z), p(z)) between the aggregated posterior and the prior N(0, I).

    A strict divergence is 0 where q(z) = p(z) and positive elsewhere. A subclass needs one method.
    It holds no state, so that an instance can be cloned, searched and used for many models at
    once: batches and parameters of K models come with a first axis of K, and each has its own D.
    The maths must also work under ``torch.func.vmap``: no ``.item()``, no boolean indexing.
    """

    unbiased: ClassVar[bool] = True
    """Whether batches of every size have the same expectation, D itself."""

    stackable: ClassVar[frozenset[str]] = frozenset()
    """Parameters that only weigh the maths, which also takes a tensor ``(K,)`` there.

    K models that differ in them, each a positive number, can train as one batch; `per_model` lines
    the numbers up with what they weigh.
    """

    along_codes: ClassVar[frozenset[str]] = frozenset()
    """What it learns with a first axis over the dimensions of z, several times perhaps.

    Dimensions are put in order after training; a divergence that learns and names nothing here
    keeps them as they are.
    """

    @abstractmethod
    def __call__(self, codes: Codes) -> Tensor:
        """Estimate D from a batch.

        Parameters
        ----------
        codes : Codes
            Draws and posteriors of shape ``(..., batch, n_components)``, and what else is needed.

        Returns
        -------
        Tensor of shape (...)
            The estimate; 0 for a batch of one row, which says nothing about q(z).
        """

    def noise_rows(self, n_rows: int) -> int:
        """How many standard normal draws, n_components numbers each, a batch of n_rows takes."""
        return 0

    def init_parameters(self, n_components: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Starting values of what the divergence itself learns; most learn nothing."""
        return {}

    def critic_loss(self, codes: Codes) -> Tensor:
        """What the divergence's own parameters minimise; adds to the gradient of the loss only."""
        raise NotImplementedError(f"{self!r} has parameters, so it must say what they minimise.")

    def stackable_values(self) -> dict[str, float]:
        """The `stackable` parameters by name, where they are positive and finite numbers."""
        values = {name: getattr(self, name) for name in sorted(self.stackable)}
        return {
            name: float(value)
            for name, value in values.items()
            if isinstance(value, Real) and 0 < float(value) < math.inf
        }

    def replaced(self, values: Mapping[str, Any]) -> Self:
        """A copy in which these parameters have other values."""
        twin = copy.copy(self)
        vars(twin).update(values)
        return twin


def per_model(value: Any, like: Tensor) -> Any:
    """A number as it is; numbers ``(K,)`` as ``(K, 1, ..., 1)``, for the first axis of `like`."""
    if not isinstance(value, Tensor) or value.ndim == 0:
        return value
    return value.reshape(-1, *[1] * (like.ndim - 1))


def no_estimate(z: Tensor) -> Tensor:
    """D of a batch of one row: 0, with a gradient of 0."""
    return z.sum((-2, -1)) * 0.0
