"""What a divergence is."""

from abc import ABC, abstractmethod

from torch import Tensor

from sk_infovae.parameters import Parameterized
from sk_infovae.posterior import Posterior


class Divergence(Parameterized, ABC):
    """D(q(z), p(z)) between the aggregated posterior and the prior N(0, I).

    A strict divergence is 0 where q(z) = p(z) and positive elsewhere. A subclass has one method.
    It holds no state, so that an instance can be cloned, searched and used for many models at
    once. The maths must work under ``torch.func.vmap``: no ``.item()``, no boolean indexing.
    """

    @abstractmethod
    def __call__(self, z: Tensor, posterior: Posterior) -> Tensor:
        """Estimate D from a batch.

        Parameters
        ----------
        z : Tensor of shape (..., batch, n_components)
            One draw from q(z|x) for each row x of the batch.
        posterior : Posterior
            Mean and log-variance of the same q(z|x).

        Returns
        -------
        Tensor of shape (...)
            The estimate; 0 for a batch of one row, which says nothing about q(z).
        """
