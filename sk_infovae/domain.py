"""Refuse values that a column's likelihood does not allow."""

from collections.abc import Sequence
from typing import Any

import torch
from scipy import sparse

from sk_infovae.likelihoods import Likelihood
from sk_infovae.preprocessing import row_blocks


def check_values(
    X: Any, likelihoods: Sequence[Likelihood], names: Sequence[Any] | None, *, scored: bool
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
                column = j if names is None else names[j]
                raise ValueError(
                    f"Column {column!r} has likelihood {likelihood!r}, whose values must {rule}; "
                    f"got {cells[bad][0].item():g}. Choose another likelihood for this column, or "
                    "transform its values."
                )
