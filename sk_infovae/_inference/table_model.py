"""A module together with the table that it was made for: arrays in, arrays out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sk_infovae._inference.collapse import describe_collapse
from sk_infovae._inference.evidence import Sampler, score_rows
from sk_infovae._inference.information import MOST_ROWS, Information, measure_information
from sk_infovae._model.domain import has_density
from sk_infovae._model.layout import TableLayout
from sk_infovae._model.objective import InfoVAELoss
from sk_infovae._model.vae import VAE
from sk_infovae._table.kinds import CellTable
from sk_infovae._table.standardizer import row_blocks

ROWS_PER_PASS = 4096
"""Rows that go through a network at a time: few enough that hidden layers stay in the cache."""

LOG_VARIANCES = -170.0, 170.0
"""Of q(z|x) that have a standard deviation in float32."""

COLLAPSE_CELLS = 2**16
"""Cells by which a fit looks for dead dimensions, in at least 32 and at most 1000 rows."""


@dataclass(frozen=True, eq=False)
class TableModel:
    """A trained module in eval mode and its layout.

    X is a validated float ndarray or CSR matrix with NaN for missing cells.
    """

    layout: TableLayout
    module: VAE
    device: str

    def posterior(self, X: CellTable) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation of q(z|x), each ``(n_rows, n_components)``."""
        mean = np.empty((X.shape[0], self.layout.architecture.n_components), dtype=np.float32)
        std = np.empty_like(mean)
        for rows in row_blocks(*X.shape, most=ROWS_PER_PASS):
            x, mask = self.layout.standardizer.encode(X[rows], np.float32)
            with torch.no_grad():
                q = self.module.encode(
                    torch.from_numpy(x).to(self.device),
                    None if mask is None else torch.from_numpy(mask).to(self.device),
                )
            mean[rows] = q.mean.cpu().numpy()
            # A row far outside may have any: its spread stays a number, and not 0.
            std[rows] = torch.exp(0.5 * q.log_variance.clamp(*LOG_VARIANCES)).cpu().numpy()
        return mean, std

    def expect(self, Z: NDArray[np.float32], X: CellTable | None = None) -> NDArray[np.float64]:
        """E[x|z] in units of X; for rows of X, where they are given, with what these add."""
        likelihood = self.module.likelihood

        def read(outputs: Tensor, rows: slice) -> Tensor:
            if X is not None:
                x, mask = self.layout.standardizer.encode(X[rows], np.float32)
                seen = None if mask is None else torch.from_numpy(mask).to(outputs)
                outputs = likelihood.with_offset(torch.from_numpy(x).to(outputs), outputs, seen)
            return likelihood.mode(likelihood.mean(outputs))

        return self._decode(Z, read)

    def sample(self, n_samples: int, seed: int) -> NDArray[np.float64]:
        """Rows drawn from the model in units of X, within the range seen in fit."""
        architecture, standardizer = self.layout.architecture, self.layout.standardizer
        generator = torch.Generator().manual_seed(seed)
        Z = torch.randn((n_samples, architecture.n_components), generator=generator).numpy()
        uniform = torch.rand((n_samples, len(architecture.likelihoods)), generator=generator)
        uniform = uniform.clamp(min=torch.finfo(uniform.dtype).tiny)

        def draw(outputs: Tensor, rows: slice) -> Tensor:
            return self.module.likelihood.sample(outputs, uniform[rows].to(self.device))

        return np.clip(self._decode(Z, draw), standardizer.low, standardizer.high)

    def _decode(
        self, Z: NDArray[np.float32], read: Callable[[Tensor, slice], Tensor]
    ) -> NDArray[np.float64]:
        values = np.empty((len(Z), len(self.layout.architecture.likelihoods)))
        for rows in row_blocks(*values.shape, most=ROWS_PER_PASS):
            with torch.no_grad():
                outputs = self.module.decode(torch.from_numpy(Z[rows]).to(self.device))
                values[rows] = self.layout.standardizer.decode(read(outputs, rows).cpu().numpy())
        return values

    def sampler(self, n_draws: int) -> Sampler:
        """The importance sampler of the score and of imputation."""
        seed = self.layout.seed_for("score")
        return Sampler.make(self.module, self.layout.standardizer, n_draws, seed)

    def score(self, X: CellTable, n_draws: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """log p(x) in nats, units of X, and the effective sample size of the estimate."""
        return score_rows(self.sampler(n_draws), X)

    def information(
        self, X: CellTable, loss: InfoVAELoss, n_draws: int, n_neighbors: int
    ) -> Information:
        """The objective taken apart on (at most `MOST_ROWS` of) the rows of X."""
        n_rows, seed = X.shape[0], self.layout.seed_for("information")
        if n_rows > MOST_ROWS:
            chosen = np.random.default_rng(seed).choice(n_rows, MOST_ROWS, replace=False)
            X = X[np.sort(chosen)]
        likelihoods = self.layout.architecture.likelihoods
        evidence = self.score(X, n_draws) if has_density(X, likelihoods) else None
        return measure_information(
            self.module, loss, X, self.layout.standardizer, evidence, seed, n_rows, n_neighbors
        )

    def describe_collapse(self, X: CellTable, loss: InfoVAELoss) -> str | None:
        """What is dead in the code, by some rows of X; None where nothing is."""
        most = min(1000, max(32, COLLAPSE_CELLS // X.shape[1]))
        some = np.unique(np.linspace(0, X.shape[0] - 1, most).astype(int))
        x, mask = self.layout.standardizer.encode(X[some], np.float32)
        return describe_collapse(
            self.module,
            torch.from_numpy(x).to(self.device),
            None if mask is None else torch.from_numpy(mask).to(self.device, torch.float32),
            loss.alpha,
            loss.lambd,
        )

    def noise_variance(self) -> NDArray[np.float64]:
        """Noise variance where it is the same for every row, units of X squared; else NaN."""
        with torch.no_grad():
            variance = self.module.likelihood.noise_variance().cpu().numpy().astype(np.float64)
        with np.errstate(over="ignore"):  # of numbers beyond 1e154
            variance = variance * self.layout.standardizer.scale**2
        return self.layout.schema.spread(variance)
