"""What a likelihood is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from sk_infovae._base.parameters import Parameterized

FISHER_DRAWS = 64


class ConstantModel(NamedTuple):
    """The best constant model of some rows.

    Parameters
    ----------
    outputs : Tensor of shape (n_outputs,)
        The decoder's outputs.
    parameters : dict of str to Tensor
        What is learned beside the decoder.
    """

    outputs: Tensor
    parameters: dict[str, Tensor]


class Likelihood(Parameterized, ABC):
    """p(x | decoder outputs) for a block of columns, independent given z.

    An instance describes the family and holds no state: what is learned beside the decoder (a
    noise scale, say) is made by `init_parameters` and handed back to every method. Columns are
    measured in the model's units: standardised where `standardised` is true, as they are
    otherwise. The maths must also work under ``torch.func.vmap``.

    Shapes: ``x``, ``mask`` and ``uniform`` are ``(..., n, n_columns)``, ``outputs`` is
    ``(..., n, n_outputs)``: the first column's outputs, then the second's, equally many for each.
    Either may lack leading axes of the other, or have 1 there: they broadcast. A family of levels
    has the codes 0, 1, ... as values of x.

    Parameters broadcast against these: ``(n_columns, ...)`` for one model. Where K models are
    trained as one they are ``(K, 1, n_columns, ...)`` and the data ``(..., K, n, n_columns)``: a
    formula that names axes from the right, ``parameter[..., 0]`` and ``sum(-1)``, serves both.
    Families of a user's own are trained one model at a time.
    """

    standardised: bool
    """Whether the columns are centred and scaled before the likelihood sees them."""

    has_levels: ClassVar[bool] = False
    """Whether x is one of a column's levels; `n_levels` of a bound instance says how many."""

    is_ordered: ClassVar[bool] = False
    """Whether the order of the levels matters."""

    has_closed_form: bool = False
    """Whether `closed_form_update` sets parameters, instead of a gradient."""

    is_calibrated: bool = False
    """Whether `calibrated` sets each column's noise once the networks are trained."""

    fit_rule: ClassVar[str | None] = None
    """What training values must satisfy, in words; None where every number is allowed."""

    score_rule: ClassVar[str | None] = None
    """What values must satisfy to have a density or probability, in words."""

    scales_features: ClassVar[bool] = False
    """Whether `features` are centred and scaled for the encoder."""

    def bind(self, n_levels: int) -> Self:
        """The likelihood of a column that had this many levels in fit."""
        return self

    @abstractmethod
    def n_outputs(self, n_columns: int) -> int:
        """Width of the decoder's output for this many columns."""

    def features(self, x: Tensor) -> Tensor:
        """What the encoder is shown of the cells, before it is standardised; as they are."""
        return x

    def init_from_data(self, x: Tensor, mask: Tensor | None) -> ConstantModel | None:
        """Where training starts, by rows ``x (n, n_columns)``; None starts from random weights.

        For a family whose outputs would begin far from the data: a count's rate, say.
        """
        return None

    def row_offset(
        self, x: Tensor, parameters: Mapping[str, Tensor], mask: Tensor | None
    ) -> Tensor | None:
        """What a row's observed cells add to each of its outputs, ``(..., n, 1)``; None: nothing.

        How much was counted in all, say. p(x|z) is then given that. The other methods are handed
        the sum, and outputs by themselves where no row is known.
        """
        return None

    def init_parameters(self, n_columns: int) -> dict[str, Tensor]:
        """Starting values of what is learned beside the decoder, each ``(n_columns or 1, ...)``."""
        return {}

    def closed_form_update(
        self, x: Tensor, outputs: Tensor, parameters: Mapping[str, Tensor], mask: Tensor | None
    ) -> Mapping[str, Tensor]:
        """Parameters that make these rows most likely, where they aren't learned by gradient.

        Of the shape of those given: K models' have ``(K, 1, n_columns, ...)``, each by its rows.
        """
        return parameters

    def calibrated(
        self, variance: Tensor | None, parameters: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Parameters that give each column this noise variance ``(..., n_columns)``.

        Asked where `is_calibrated`, once the networks are trained; with None before they train on.
        """
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
        """Expected x, ``(..., n, n_columns)``; with levels the probability of each.

        Those are ``(..., n, n_columns * n_levels)``, the first column's first. Averages over z
        make sense of them, `mode` a cell.
        """

    def average(self, outputs: Tensor, parameters: Mapping[str, Tensor], shares: Tensor) -> Tensor:
        """The `mean` over draws of z, ``(..., n_draws, n_outputs)`` with ``shares (..., n_draws)``.

        The shares sum to 1. A family whose means are wider than its outputs averages before.
        """
        # Draws first: parameters of many models line up with the models and rows behind them.
        means = self.mean(outputs.movedim(-2, 0), parameters).movedim(0, -2)
        return (shares[..., None, :] @ means)[..., 0, :]

    def mode(self, mean: Tensor) -> Tensor:
        """The cells ``(..., n, n_columns)`` that a `mean` stands for: itself, where it is one."""
        return mean

    @abstractmethod
    def sample(self, outputs: Tensor, parameters: Mapping[str, Tensor], uniform: Tensor) -> Tensor:
        """Draw x by inverting the distribution function at ``uniform`` in (0, 1)."""

    def fisher(self, outputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Diagonal of the Fisher information about the outputs, ``(..., n, n_outputs)``.

        By default an estimate: the mean square of the score, the gradient of `log_prob`, over
        draws at the middles of `FISHER_DRAWS` equal parts of (0, 1). It is up to about a tenth off,
        and blind to values rarer than a part.
        """
        n_columns = outputs.shape[-1] // self.n_outputs(1)
        middles = (torch.arange(FISHER_DRAWS).to(outputs) + 0.5) / FISHER_DRAWS
        draws = outputs.expand(FISHER_DRAWS, *outputs.shape)
        uniform = middles.reshape(-1, *[1] * outputs.ndim)
        x = self.sample(draws, parameters, uniform.expand(*draws.shape[:-1], n_columns))
        score = torch.func.grad(lambda o: self.log_prob(x, o, parameters, None).sum())(draws)
        return score.square().mean(0)

    def fisher_product(
        self, outputs: Tensor, parameters: Mapping[str, Tensor], tangents: Tensor
    ) -> Tensor:
        """Fisher information times ``tangents (..., n, n_outputs, d)``; its diagonal's by default.

        A family with several outputs a column, whose information is a matrix, overrides it.
        """
        return self.fisher(outputs, parameters)[..., None] * tangents

    def noise_variance(self, parameters: Mapping[str, Tensor]) -> Tensor | None:
        """Variance of x given z per column, or one for all; None where it depends on z."""
        return None
