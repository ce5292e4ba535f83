"""A known latent-variable model, and what follows from it exactly.

The laws are written here in NumPy and SciPy, and not taken from `sk_infovae.likelihoods`, so that
an estimator of this package can be held against them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, gammaln, log_softmax, logsumexp
from scipy.stats import norm
from sklearn.utils import gen_batches

STEP, REACH = 0.08, 6.5
"""Grid over z, and the radius that it fills: less than 1e-9 of the prior lies outside."""

NARROWEST = 0.7
"""In steps, the least standard deviation of p(z|x) that the grid resolves, to 1e-4."""

CHUNK_CELLS = 2**20

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Column:
    """p(x|z) of one column, with outputs ``weight @ z + bias``.

    Attributes
    ----------
    name, likelihood : str
        As `InfoVAETransformer` calls them.
    weight, bias : ndarray of shape (n_outputs, n_components) and (n_outputs,)
        One output; for "categorical" one for each level.
    noise : float
        Standard deviation of x, or of log x, given z; NaN where the family has none.
    levels : tuple
        Empty for numbers.
    cuts : ndarray of shape (n_levels - 1,)
        For "ordinal": P(x <= level k) = sigmoid(cuts[k] - output).
    """

    name: str
    likelihood: str
    weight: Array
    bias: Array
    noise: float
    levels: tuple[Any, ...]
    cuts: Array

    def log_probabilities(self, z: Array) -> Array:
        """Of every level at z ``(m, n_components)``, ``(m, n_levels)``."""
        outputs = z @ self.weight.T + self.bias
        if self.likelihood == "ordinal":
            ends = np.concatenate([[-np.inf], self.cuts, [np.inf]])
            return np.log(np.maximum(np.diff(expit(ends - outputs)), 1e-300))
        if self.likelihood == "bernoulli":
            outputs = np.column_stack([np.zeros(len(z)), outputs])
        return log_softmax(outputs, axis=1)

    def natural(self, z: Array) -> Array:
        """What z says: log p(x|z) is the product of `statistics` and this, ``(m, n_terms)``."""
        if self.levels:
            return self.log_probabilities(z)
        output = (z @ self.weight.T)[:, 0]
        if self.likelihood == "poisson":
            output = output + self.bias
            terms = [output, -np.exp(output)]
        else:
            terms = [output / self.noise, -0.5 * np.square(output / self.noise)]
        return np.stack([*terms, np.ones(len(z))], axis=1)

    def statistics(self, x: Array) -> Array:
        """What the cells x ``(n,)`` say, ``(n, n_terms)``; a missing one nothing: 0."""
        if self.levels:
            return (x[:, None] == np.arange(len(self.levels))).astype(np.float64)
        if self.likelihood == "poisson":
            told, base = x, -gammaln(x + 1)
        else:
            log_x = np.log(x) if self.likelihood == "lognormal" else 0.0
            told = ((log_x if self.likelihood == "lognormal" else x) - self.bias) / self.noise
            base = norm.logpdf(told) - np.log(self.noise) - log_x
        terms = np.stack([told, np.ones(len(x)), base], axis=1)
        return np.where(np.isnan(x)[:, None], 0.0, terms)

    def mean(self, z: Array) -> Array:
        """E[x|z] of a number ``(m, 1)``, probabilities of the levels ``(m, n_levels)``."""
        if self.levels:
            return np.exp(self.log_probabilities(z))
        output = z @ self.weight.T + self.bias
        if self.likelihood == "lognormal":
            return np.exp(output + self.noise**2 / 2)
        return np.exp(output) if self.likelihood == "poisson" else output

    def draw(self, z: Array, rng: np.random.Generator) -> Array:
        """A cell for each row of z; of levels the position."""
        mean = self.mean(z)
        if self.levels:
            above = mean.cumsum(axis=1)[:, :-1] < rng.random((len(z), 1))
            return above.sum(axis=1).astype(np.float64)
        if self.likelihood == "poisson":
            return rng.poisson(mean[:, 0]).astype(np.float64)
        error = self.noise * rng.standard_normal(len(z))
        if self.likelihood == "lognormal":
            return mean[:, 0] * np.exp(error - self.noise**2 / 2)
        return mean[:, 0] + error


@dataclass(frozen=True, eq=False)
class MixedTruth:
    """What is known of a table made by `make_mixed_table`.

    The methods take any table with its columns: some of its rows, or other missing cells. Their
    answers are integrals over a grid of z, so they need one or two latent dimensions, and are
    exact to about 1e-4.

    Parameters
    ----------
    latents : ndarray of shape (n_samples, n_components)
        The z of every row.
    complete : DataFrame
        The table before cells were taken out.
    holes : ndarray of bool, shape (n_samples, n_columns)
        Which cells were taken out.
    columns : tuple of Column
        The law p(x|z) of every column.
    """

    latents: Array
    complete: Any
    holes: NDArray[np.bool_]
    columns: tuple[Column, ...]

    @property
    def likelihood(self) -> dict[str, str]:
        """Likelihood of every column, as `InfoVAETransformer` takes it."""
        return {column.name: column.likelihood for column in self.columns}

    def score_samples(self, X: Any) -> Array:
        """Exact log p(x) of the observed cells of each row.

        Parameters
        ----------
        X : DataFrame
            Of these columns.

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,)
            In nats and the units of the table: density of numbers, probability of the rest.
        """
        return np.concatenate([total for total, _ in self._integrate(X)])

    def expect(self, X: Any, column: str) -> Array:
        """What the other observed cells of each row say of a column, which is not looked at.

        Parameters
        ----------
        X : DataFrame
            Of these columns.
        column : str
            Any of them, as if it were missing.

        Returns
        -------
        expected : ndarray of shape (n_samples,) or (n_samples, n_levels)
            Conditional mean of a number, or probabilities of the levels (False and True, for a
            boolean) in their order.
        """
        law = {one.name: one for one in self.columns}[column]
        mean = law.mean(self._grid())
        means = np.concatenate([shares @ mean for _, shares in self._integrate(X, without=law)])
        return means if law.levels else means[:, 0]

    def _grid(self) -> Array:
        n_components = self.latents.shape[1]
        if n_components > 2:
            raise ValueError(
                "Exact answers are integrals over a grid of one or two latent dimensions; this "
                f"table has n_components={n_components}."
            )
        axis = np.arange(-REACH, REACH, STEP)
        grid = np.stack(np.meshgrid(*[axis] * n_components), -1).reshape(-1, n_components)
        return grid[np.square(grid).sum(axis=1) <= REACH**2]

    def _integrate(self, X: Any, without: Column | None = None) -> Iterator[tuple[Array, Array]]:
        """log p(x), and every point's share of p(z|x), of some rows at a time.

        The sums converge to the integrals faster than any power of the step.
        """
        grid, cells = self._grid(), _read(X, self.columns)
        columns = [
            (one, x) for one, x in zip(self.columns, cells.T, strict=True) if one is not without
        ]
        prior = norm.logpdf(grid).sum(axis=1) + grid.shape[1] * np.log(STEP)
        natural = np.column_stack([prior, *(one.natural(grid) for one, _ in columns)]).T
        ones = np.ones(len(cells))
        statistics = np.column_stack([ones, *(one.statistics(x) for one, x in columns)])
        least = (2 * np.sqrt(np.pi) * NARROWEST) ** grid.shape[1]
        for rows in gen_batches(len(cells), max(1, CHUNK_CELLS // len(grid))):
            joint = statistics[rows] @ natural
            total = logsumexp(joint, axis=1)
            shares = np.exp(joint - total[:, None])
            if (np.square(shares).sum(axis=1) * least > 1).any():
                raise ValueError(
                    "The columns tell z more closely than the grid of these integrals resolves. "
                    "Make a table with more noise or fewer columns."
                )
            yield total, shares


def _read(X: Any, columns: tuple[Column, ...]) -> Array:
    """Numbers and positions of levels, NaN where missing (or of no level)."""
    cells = np.full((len(X), len(columns)), np.nan)
    for j, column in enumerate(columns):
        codes = {level: code for code, level in enumerate(column.levels)}
        for i, cell in enumerate(X[column.name].to_list()):
            if column.levels:
                cells[i, j] = codes.get(cell, np.nan)
            elif isinstance(cell, Real):  # not None, not NA of pandas
                cells[i, j] = float(cell)
    return cells
