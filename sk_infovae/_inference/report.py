"""`Information` as a short table, for a terminal and for a notebook."""

import math
from html import escape
from typing import Any


def rows_of(found: Any) -> list[tuple[str, str, str]]:
    """What is measured, its value, and what to read it by; parts are set in below their sum."""
    d = len(found.kl_per_dimension)
    rows = [
        ("E log p(x|z)", _nats(found.reconstruction), "reconstruction, in the units of X"),
        ("KL(q(z|x) || p(z))", _nats(found.kl), f"+- {found.kl_error:.2f}; the sum of"),
        (
            "  I(x; z)",
            _nats(found.mutual_information),
            f"+- {found.mutual_information_error:.2f}, at most log n = "
            f"{found.mutual_information_cap:.2f}",
        ),
        ("  KL(q(z) || p(z))", _nats(found.marginal_kl), "codes as a whole against the prior"),
        ("ELBO", _nats(found.elbo), "E log p(x|z) - KL"),
        (
            "log p(x)",
            _nats(found.log_likelihood),
            f"{found.amortisation_gap:.2f} above the ELBO; {found.effective_sample_size:.0f} "
            "draws of a row count",
        ),
        (
            "I(z; z')",
            _nats(found.neighbor_information),
            f"codes of neighbours, at most {found.neighbor_information_cap:.2f}",
        ),
        (
            "D(q(z), p(z))",
            f"{found.divergence:.4g}",
            f"in its own units; MMD {found.standardised_mmd:.1f} standard deviations from 0",
        ),
        ("active dimensions", f"{found.active_units}", f"of {d}"),
    ]
    if math.isnan(found.log_likelihood):
        rows[5] = ("log p(x)", "-", "these values have no density")
    return rows


def title_of(found: Any) -> str:
    """Rows and units."""
    some = "" if found.n_rows == found.n_rows_given else f" of {found.n_rows_given:,}"
    return f"Information on {found.n_rows:,}{some} rows, nats per row"


def as_text(found: Any) -> str:
    """Aligned columns."""
    lines = [f"  {name:20} {value:>10}  {note}" for name, value, note in rows_of(found)]
    return "\n".join([title_of(found), *(line.rstrip() for line in lines)])


def as_html(found: Any) -> str:
    """A table in the notebook's own style."""
    cells = "".join(
        f"<tr><td style='text-align:left'>{'&emsp;' * name.startswith(' ')}{escape(name)}</td>"
        f"<td>{value}</td><td style='text-align:left'>{escape(note)}</td></tr>"
        for name, value, note in rows_of(found)
    )
    return f"<table><caption>{title_of(found)}</caption><tbody>{cells}</tbody></table>"


def _nats(value: float) -> str:
    return f"{value:.2f}"
