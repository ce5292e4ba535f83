"""Refuse values that a column's likelihood does not allow."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import torch
from scipy import sparse

from sk_infovae._table.disk import DiskTable
from sk_infovae._table.kinds import CellTable
from sk_infovae._table.standardizer import row_blocks
from sk_infovae.likelihoods import Likelihood


def has_density(X: CellTable, likelihoods: Sequence[Likelihood]) -> bool:
    """Whether every observed cell has a density or probability under its column's likelihood."""
    return next(broken_rules(X, likelihoods, scored=True), None) is None


def broken_rules(
    X: Any, likelihoods: Sequence[Likelihood], *, scored: bool
) -> Iterator[tuple[int, str, float]]:
    """Column, rule and first offending value, for each column that breaks its rule."""
    if isinstance(X, DiskTable):  # in one pass, where any column has a rule
        rules = [one.score_rule if scored else one.fit_rule for one in likelihoods]
        for rows in row_blocks(*X.shape) if any(rules) else ():
            yield from broken_rules(X[rows], likelihoods, scored=scored)
        return
    for j, likelihood in enumerate(likelihoods):
        rule = likelihood.score_rule if scored else likelihood.fit_rule
        if rule is None:
            continue
        allowed = likelihood.in_support if scored else likelihood.in_fit_domain
        for rows in row_blocks(X.shape[0], 1):
            block = X[rows, [j]].toarray() if sparse.issparse(X) else X[rows, j]
            cells = torch.tensor(block).ravel()
            bad = ~(allowed(cells) | cells.isnan())
            if bad.any():
                yield j, rule, cells[bad][0].item()
                break


def check_values(
    X: CellTable,
    likelihoods: Sequence[Likelihood],
    names: Sequence[Hashable] | None,
    *,
    scored: bool = False,
) -> None:
    """Check every observed cell against the rule of its column's likelihood.

    Parameters
    ----------
    X : ndarray or CSR matrix
    likelihoods : sequence of Likelihood
        One for each column.
    names : sequence or None
        Column names, for the message.
    scored : bool
        Whether the values must have a density (score) or only train (fit).

    Raises
    ------
    ValueError
        Naming the column, the rule, a value that breaks it, and the mend.
    """
    for j, rule, value in broken_rules(X, likelihoods, scored=scored):
        column = j if names is None else names[j]
        raise ValueError(
            f"Column {column!r} has likelihood {likelihoods[j]!r}, whose values must {rule}; got "
            f"{value:g}. Choose another likelihood for this column, or transform its values."
        )
