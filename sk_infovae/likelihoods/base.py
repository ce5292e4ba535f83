"""What a likelihood is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from sk_infovae.parameters import Parameterized


class Likelihood(Parameterized, ABC):
    """p(x | decoder outputs) for a block of columns, independent given z.

    An instance describes the family and holds no state: what is learned beside the decoder (a
    noise scale, say) is made by `init_parameters` and handed back to every method. Columns are
    measured in the model's units: standardised where `standardised` is true, as they are
    otherwise. The maths must work under ``torch.func.vmap``.

    Shapes: ``x``, ``mask`` and ``uniform`` are ``(..., n, n_columns)``, ``outputs`` is
    ``(..., n, n_outputs)``.
    """

    standardised: bool
    """Whether the columns are centred and scaled before the likelihood sees them."""

    refits: bool = False
    """Whether `refit` sets parameters, instead of a gradient."""

    fit_rule: ClassVar[str | None] = None
    """What training values must satisfy, in words; None where every number is allowed."""

    score_rule: ClassVar[str | None] = None
    """What values must satisfy to have a density or probability, in words."""

    @abstractmethod
    def n_outputs(self, n_columns: int) -> int:
        """Width of the decoder's output for this many columns."""

    def init_parameters(self, n_columns: int) -> dict[str, Tensor]:
        """Starting values of what is learned beside the decoder."""
        return {}

    def refit(
        self, x: Tensor, outputs: Tensor, parameters: Mapping[str, Tensor], mask: Tensor | None
    ) -> Mapping[str, Tensor]:
        """Parameters that make these rows most likely, where they aren't learned by gradient."""
        return parameters

    def in_fit_domain(self, x: Tensor) -> Tensor:
        """True for each value that `fit_rule` allows."""
        return x == x

    def in_support(self, x: Tensor) -> Tensor:
        """True for each value that `score_rule` allows."""
        return x == x

    @abstractmethod
    def log_prob(
        self, x: Tensor, outputs: Tensor, parameters: Mapping[str, Tensor], mask: Tensor | None
    ) -> Tensor:
        """Log density or probability summed over the columns, nats, ``(..., n)``.

        ``mask`` is 1 where a cell was observed and 0 where it is missing (x is finite there, and
        contributes nothing); None means that every cell was observed.
        """

    @abstractmethod
    def mean(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Expected x, ``(..., n, n_columns)``."""

    @abstractmethod
    def sample(self, outputs: Tensor, parameters: Mapping[str, Tensor], uniform: Tensor) -> Tensor:
        """Draw x by inverting the distribution function at ``uniform`` in (0, 1)."""

    @abstractmethod
    def fisher(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Diagonal of the Fisher information about the outputs, ``(..., n, n_outputs)``."""

    def noise_variance(self, parameters: Mapping[str, Tensor]) -> Tensor | None:
        """Variance of x given z per column, or one for all; None where it depends on z."""
        return None
