r"""Each column's noise in closed form, once the networks are trained.

A noise that follows the gradient starts at a column's own spread, and training ends long before it
is down at the errors; smooth codes like it so, but the density pays for it. The noise that
maximises E log p(x|z) under p(z|x) is the mean squared error there,

.. math::

    v_j = \frac1n \sum_i E_{p(z|x_i)} (x_{ij} - o_j(z))^2,

an EM step (Rubin and Thayer 1982) with the networks held. Where the decoder is taken as linear,
with the Jacobian J at a code near the mode, p(z|x) is Gaussian, as in `proposal`: with the gradient
g of log p(x, z) and the precision :math:`P = I + J' F J` it lies :math:`\delta = P^{-1} g` away and

.. math::

    E (x_j - o_j(z))^2 = (x_j - o_j - J_j \delta)^2 + J_j P^{-1} J_j'.

Both depend on v, so a few rounds follow on one Jacobian, and a second Jacobian on them.

Rows that trained the networks lie too close to them. Held-out rows do not, but may be few. So with
n of them and their mean squared errors u_j, and r the mean of u_j / v_j over the columns

.. math::

    v_j \leftarrow (n u_j + m r v_j) / (n + m), \qquad m = 50.
"""

import copy
import math

import torch
from torch import Tensor

from sk_infovae._inference.jacobian import outputs_and_jacobian
from sk_infovae._model.cells import Cells
from sk_infovae._model.vae import VAE
from sk_infovae.likelihoods import ColumnLikelihoods
from sk_infovae.likelihoods.gaussian import MIN_ROWS
from sk_infovae.likelihoods.numerics import column_moments

JACOBIANS, ROUNDS = 2, 2
"""Places where the decoder is taken as linear, and rounds of EM at each."""

PRIOR_ROWS = 50
"""Held-out rows that what the training rows say weighs as much as."""


@torch.no_grad()
def calibrate(
    module: VAE, trained: Cells, held_out: Cells | None = None, far: float = math.inf
) -> None:
    """Set the noise of columns whose likelihood leaves it for after the training.

    It stays as it was learned where the decoder can't be differentiated, in a table of fewer than
    `MIN_ROWS` rows, and for a column without a cell. A column with fewer cells than that says too
    little: its noise lies between its error and its own spread, by the number of cells.

    Parameters
    ----------
    module : VAE
        Of one model, in eval mode; changed in place.
    trained, held_out : Cells
        Rows that the networks were trained on, and others.
    far : float
        A cell further out, or there, which training drew in, counts as missing: it is no measure
        of the noise.
    """
    columns = module.likelihood.calibrated_columns
    if not len(columns) or len(trained.x) < MIN_ROWS:
        return
    likelihood = copy.deepcopy(module.likelihood).double()
    sets = [SquaredErrors(module, likelihood, rows, far) for rows in (trained, held_out) if rows]
    for _ in range(JACOBIANS):
        try:
            for one in sets:
                one.linearise()
        except (RuntimeError, NotImplementedError):
            return
        for _ in range(ROUNDS):
            variance, n_seen = sets[0].mean()
            for others in sets[1:]:
                variance = blend(variance, *others.mean(), columns)
            share = (n_seen / MIN_ROWS).clamp(max=1)
            variance = share * variance + (1 - share) * sets[0].spread
            known = (n_seen > 0) & (variance > 0) & variance.isfinite()
            before = likelihood.noise_variance().to(variance)
            likelihood.calibrate(torch.where(known, variance, before))
    module.likelihood.load_state_dict(likelihood.state_dict())


def blend(variance: Tensor, held_out: Tensor, n_rows: Tensor, columns: Tensor) -> Tensor:
    """The variances of the training rows, put right by those of held-out ones."""
    known = columns[(n_rows * variance)[columns] > 0]
    ratio = (held_out / variance)[known].mean() if len(known) else 1.0
    return (n_rows * held_out + PRIOR_ROWS * ratio * variance) / (n_rows + PRIOR_ROWS)


class SquaredErrors:
    """Squared errors of the observed cells under p(z|x), as the noise changes.

    Parameters
    ----------
    module : VAE
        In eval mode.
    likelihood : ColumnLikelihoods
        The module's in float64, whose noise changes.
    cells : Cells
    far : float
        Cells there and beyond count as missing.
    """

    def __init__(
        self, module: VAE, likelihood: ColumnLikelihoods, cells: Cells, far: float = math.inf
    ):
        self.decoder, self.likelihood = module.decoder, likelihood
        near = cells.x.abs() < far
        for block in likelihood.blocks():
            if not block.likelihood.standardised:  # a large count is no far one
                near[:, block.columns] = True
        self.seen = near.double() * (1.0 if cells.mask is None else cells.mask)
        x = torch.where(near, cells.x, 0.0)
        self.x, self.mask = x.double(), None if self.seen.all() else self.seen
        self.spread = column_moments(self.x, self.seen)[2]
        for block in likelihood.blocks():
            if block.likelihood.standardised:  # measured on more rows than these
                self.spread[block.columns] = 1.0
        self.z = module.encode(x, None if self.mask is None else self.mask.to(x)).mean
        self.step = torch.zeros_like(self.z)

    def linearise(self) -> None:
        """Go to the last mode found, and take the decoder as linear from there."""
        self.z = self.z + self.step.to(self.z)
        outputs, jacobian = outputs_and_jacobian(self.decoder, self.z)
        self.outputs, self.jacobian = outputs.double(), jacobian.double()

    def mean(self) -> tuple[Tensor, Tensor]:
        """Their mean and their number, by column."""
        root = self._posterior()
        moved = self.outputs + (self.jacobian @ self.step[..., None])[..., 0]
        spread = torch.linalg.solve_triangular(root, self.jacobian.mT, upper=False).square().sum(-2)
        squares = torch.zeros_like(self.x)
        for block in self.likelihood.blocks():
            if block.likelihood.is_calibrated:  # one output a column, its mean
                error = self.x[:, block.columns] - moved[:, block.outputs]
                squares[:, block.columns] = error.square() + spread[:, block.outputs]
        count = self.seen.sum(0)
        return (squares * self.seen).sum(0) / count.clamp(min=1), count

    def _posterior(self) -> Tensor:
        """Lower Cholesky factor of P; the step from z to the mode is kept."""
        outputs = self.outputs.clone().requires_grad_()
        with torch.enable_grad():
            total = self.likelihood.log_prob(self.x, outputs, self.mask).sum()
        slope = torch.autograd.grad(total, outputs)[0]
        gradient = (slope[:, None, :] @ self.jacobian)[:, 0, :] - self.z
        given = self.likelihood.with_offset(self.x, self.outputs, self.mask)
        product = self.likelihood.fisher_product(given, self.jacobian, self.mask)
        precision = self.jacobian.mT @ product
        precision.diagonal(dim1=-2, dim2=-1).add_(1.0)
        root = torch.linalg.cholesky_ex(precision)[0]  # NaN is for `calibrate` to see
        self.step = torch.cholesky_solve(gradient[..., None], root)[..., 0]
        return root
