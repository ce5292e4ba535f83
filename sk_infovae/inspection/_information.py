"""What the code knows, and what it costs."""

from typing import Any, Self

import numpy as np

from sk_infovae._fitted import vae_and_table
from sk_infovae._inference.information import Information
from sk_infovae.inspection._figure import COLOURS, FAINT, Display, ink


class InformationDisplay(Display):
    """KL by dimension, and KL = I(x;z) + KL(q(z)||p(z)) as a stack.

    Make one by `from_estimator` or `from_information`.

    Parameters
    ----------
    information : Information
        As `InfoVAETransformer.information` returns it.

    Attributes
    ----------
    ax_ : ndarray of Axes
    figure_ : Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_infovae import InfoVAETransformer
    >>> from sk_infovae.inspection import InformationDisplay
    >>> X = load_iris().data
    >>> vae = InfoVAETransformer(max_epochs=5, random_state=0).fit(X)
    >>> InformationDisplay.from_estimator(vae, X).information.n_rows
    150
    """

    def __init__(self, *, information: Information):
        self.information = information

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, *, ax: Any = None) -> Self:
        """Take the objective apart on X, and show it.

        Parameters
        ----------
        estimator : InfoVAETransformer, Pipeline with one, or a search over either
            Fitted.
        X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
            At least 2 rows.
        ax : Axes or array of two Axes, default=None

        Returns
        -------
        display : InformationDisplay
        """
        vae, X = vae_and_table(estimator, X)
        return cls.from_information(vae.information(X), ax=ax)

    @classmethod
    def from_information(cls, information: Information, *, ax: Any = None) -> Self:
        """Show what `InfoVAETransformer.information` returned.

        Parameters
        ----------
        information : Information
        ax : Axes or array of two Axes, default=None

        Returns
        -------
        display : InformationDisplay
        """
        return cls(information=information).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw both panels.

        Parameters
        ----------
        ax : Axes or array of two Axes, default=None
            Axes to divide, or one for each panel.

        Returns
        -------
        self : InformationDisplay
        """
        left, right = self._panels(ax, 1, 2, (4.4, 3.6))[0]
        found = self.information
        d = len(found.kl_per_dimension)
        left.bar(np.arange(1, d + 1), found.kl_per_dimension, color=COLOURS[0])
        left.set(
            xlabel="component",
            ylabel="KL(q(z|x) || p(z)), nats",
            title=f"{found.active_units} of {d} active",
        )
        left.xaxis.get_major_locator().set_params(integer=True)
        self._stack(right)
        return self

    def _stack(self, ax: Any) -> None:
        """The two parts of the KL, one on the other, and the most that the first could be."""
        found = self.information
        parts = {"I(x; z)": found.mutual_information, "KL(q(z) || p(z))": found.marginal_kl}
        bottom = 0.0
        hatches = (None, "//")
        for (name, value), colour, hatch in zip(parts.items(), COLOURS, hatches, strict=False):
            ax.bar([0], [value], bottom=bottom, color=colour, hatch=hatch, width=0.5,
                   label=f"{name} = {value:.2f}")  # fmt: skip
            bottom += max(value, 0.0)
        cap = found.mutual_information_cap
        ax.axhline(cap, color=ink(), ls=":", alpha=FAINT, label=f"log n = {cap:.2f}, most of I")
        ax.axhline(0, color=ink(), lw=0.8)
        ax.set(
            ylabel="nats per row",
            title=f"KL(q(z|x) || p(z)) = {found.kl:.2f}",
            xticks=[],
            xlim=(-1, 1),
            ylim=(min(0.0, *parts.values()), 1.45 * max(cap, bottom)),
        )
        ax.legend(loc="upper center")
