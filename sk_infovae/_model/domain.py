"""Refuse values that a column's likelihood does not allow."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import torch
from scipy import sparse

from sk_infovae._table.disk import DiskTable
from sk_infovae._table.kinds import CellTable
from sk_infovae._table.standardizer import row_blocks
from sk_infovae.likelihoods import Likelihood
from sk_infovae.likelihoods.product import columns_of


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
    found: dict[int, tuple[str, float]] = {}
    for likelihood, columns in columns_of(likelihoods):
        rule = likelihood.score_rule if scored else likelihood.fit_rule
        if rule is None:
            continue
        allowed = likelihood.in_support if scored else likelihood.in_fit_domain
        width = X.shape[1] if sparse.issparse(X) else len(columns)
        for rows in row_blocks(X.shape[0], width):
            block = X[rows] if len(columns) == X.shape[1] else X[rows][:, columns]
            cells = torch.tensor(block.toarray() if sparse.issparse(block) else block)
            bad = ~(allowed(cells) | cells.isnan())
            for k in bad.any(0).nonzero()[:, 0].tolist():
                found.setdefault(columns[k], (rule, cells[bad[:, k], k][0].item()))
    for j in sorted(found):
        yield j, *found[j]


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
