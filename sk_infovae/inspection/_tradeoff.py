"""What a search found over alpha, lambd and n_components."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sk_infovae._fitted import prefix_of_vae
from sk_infovae.inspection._figure import FAINT, Display, ink, style

WEIGHTS = ("alpha", "lambd", "n_components")


class TradeoffDisplay(Display):
    """A criterion of a search over its weights, or against another criterion.

    Make one by `from_search`.

    Parameters
    ----------
    table : dict of ndarray
        For each candidate: ``alpha``, ``lambd`` and ``n_components`` (those that were searched),
        ``mean`` and ``std`` of the criterion over the folds, and ``against``, the mean of another.
    criterion : str
        Its name.
    against : str or None
        Name of the other.

    Attributes
    ----------
    ax_ : Axes or ndarray of Axes
    figure_ : Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_infovae import InfoVAETransformer
    >>> from sk_infovae.inspection import TradeoffDisplay
    >>> from sk_infovae.model_selection import InfoVAEGridSearchCV
    >>> vae = InfoVAETransformer(max_epochs=3, n_importance_samples=64, random_state=0)
    >>> grid = {"alpha": [0, 0.5, 0.9], "lambd": [1, 10]}
    >>> search = InfoVAEGridSearchCV(vae, grid, cv=2).fit(load_iris().data)
    >>> TradeoffDisplay.from_search(search).table["mean"].shape
    (6,)
    """

    def __init__(
        self, *, table: dict[str, NDArray[Any]], criterion: str, against: str | None = None
    ):
        self.table = table
        self.criterion = criterion
        self.against = against

    @classmethod
    def from_search(
        cls,
        search: Any,
        *,
        criterion: str | None = None,
        against: str | None = None,
        ax: Any = None,
    ) -> Self:
        """Show what a fitted search measured.

        Parameters
        ----------
        search : InfoVAEGridSearchCV, GridSearchCV or another with ``cv_results_``
            Fitted, over at least one of alpha, lambd and n_components, of a transformer or of one
            in a Pipeline.
        criterion : str, default=None
            One of its scorers, as ``scoring`` names it; by default the one of ``refit``, or the
            only one.
        against : str, default=None
            Another, for the horizontal axis: ``criterion="neg_reconstruction_error"``,
            ``against="mutual_information"`` is rate against distortion.
        ax : Axes or array of Axes, default=None

        Returns
        -------
        display : TradeoffDisplay
        """
        check_is_fitted(search, "cv_results_")
        results = search.cv_results_
        if criterion is None:
            refit, measured = getattr(search, "refit", None), _criteria(results)
            criterion = refit if isinstance(refit, str) else "score"
            criterion = measured[0] if len(measured) == 1 else criterion
        table = _weights(results, search.estimator)
        table |= {
            "mean": _measured(results, f"mean_test_{criterion}"),
            "std": _measured(results, f"std_test_{criterion}"),
        }
        if against is not None:
            table["against"] = _measured(results, f"mean_test_{against}")
        return cls(table=table, criterion=criterion, against=against).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw lines over a weight, or one criterion against the other.

        Over a weight, candidates that differ in other parameters alone count by their best.

        Parameters
        ----------
        ax : Axes or array of Axes, default=None

        Returns
        -------
        self : TradeoffDisplay
        """
        return self._over_weights(ax) if self.against is None else self._against(ax)

    def _groups(self, names: list[str]) -> dict[tuple[float, ...], NDArray[np.intp]]:
        """Candidates by their values of some weights."""
        keys = np.stack([self.table[name] for name in names], axis=1) if names else None
        if keys is None:
            return {(): np.arange(len(self.table["mean"]))}
        found = np.unique(keys, axis=0)
        return {tuple(one): np.flatnonzero((keys == one).all(axis=1)) for one in found}

    def _over_weights(self, ax: Any) -> Self:
        x, *others = [name for name in WEIGHTS if name in self.table]
        panels = self._groups(["n_components"] if "n_components" in others else [])
        axes = self._panels(ax, 1, len(panels), (3.8, 3.4), sharey=True)[0]
        lines = self._groups(["lambd"] if "lambd" in others else [])
        for panel, (size, members) in zip(axes, panels.items(), strict=True):
            for k, (weight, own) in enumerate(lines.items()):
                mine = self._best(np.intersect1d(members, own), x)
                values, mean, std = (self.table[name][mine] for name in (x, "mean", "std"))
                name = f"lambd {weight[0]:g}" if weight else None
                panel.errorbar(values, mean, std, elinewidth=0.8, label=name, **style(k))
            if x == "lambd":
                panel.set_xscale("log")
            title = f"n_components {size[0]:g}" if size else None
            panel.set(xlabel=x, title=title)
        best = int(np.nan_to_num(self.table["mean"], nan=-np.inf).argmax())
        place = next(k for k, members in enumerate(panels.values()) if best in members)
        point = self.table[x][best], self.table["mean"][best]
        ring = {"mfc": "none", "mec": ink(), "ms": 14, "ls": "", "label": "best"}
        axes[place].plot(*point, marker="o", **ring)
        axes[0].set_ylabel(f"{self.criterion} (bars: deviation over folds)")
        axes[place].legend()
        return self

    def _best(self, members: NDArray[np.intp], x: str) -> NDArray[np.intp]:
        """For each value of a weight the candidate with the best mean, in order."""
        values, mean = (
            self.table[x][members],
            np.nan_to_num(self.table["mean"][members], nan=-np.inf),
        )
        best = [members[values == one][mean[values == one].argmax()] for one in np.unique(values)]
        return np.array(best, dtype=np.intp)

    def _against(self, ax: Any) -> Self:
        panel = self._panels(ax, 1, 1, (6.4, 4.6))[0, 0]
        lines = self._groups([name for name in ("n_components", "lambd") if name in self.table])
        names = [name for name in ("n_components", "lambd") if name in self.table]
        for k, (values, members) in enumerate(lines.items()):
            if "alpha" in self.table:
                members = members[np.argsort(self.table["alpha"][members], kind="stable")]
            label = ", ".join(f"{n} {v:g}" for n, v in zip(names, values, strict=True)) or None
            points = self.table["against"][members], self.table["mean"][members]
            panel.plot(*points, label=label, alpha=0.85, **style(k))
            if "alpha" in self.table:
                self._name_ends(panel, members)
        panel.set(xlabel=self.against, ylabel=self.criterion)
        if names:
            panel.legend(fontsize="small")
        return self

    def _name_ends(self, panel: Any, members: NDArray[np.intp]) -> None:
        """Alpha at the ends of a line."""
        for j in {members[0], members[-1]}:
            point = self.table["against"][j], self.table["mean"][j]
            text = f"{self.table['alpha'][j]:g}"
            place = {"xytext": (4, 4), "textcoords": "offset points", "fontsize": "x-small"}
            panel.annotate(text, point, color=ink(), alpha=FAINT + 0.3, **place)


def _weights(results: dict[str, Any], estimator: Any) -> dict[str, NDArray[np.float64]]:
    """Values of the weights that were searched, by their names in the transformer.

    Where one dict of a grid names a weight and another does not, the second has the estimator's.
    """
    prefix, params = prefix_of_vae(estimator), estimator.get_params()
    found = {}
    for name in WEIGHTS:
        values = results.get(f"param_{prefix}{name}")
        if values is not None:
            masked = np.ma.asarray(values)
            found[name] = np.ma.filled(masked.astype(float), params[f"{prefix}{name}"])
    if not found:
        varied = sorted(key.removeprefix("param_") for key in results if key.startswith("param_"))
        raise ValueError(
            "The search must vary alpha, lambd or n_components of the transformer; got "
            f"{', '.join(varied) or 'nothing'}."
        )
    return found


def _criteria(results: dict[str, Any]) -> list[str]:
    """What the search measured."""
    start = "mean_test_"
    return [name.removeprefix(start) for name in results if name.startswith(start)]


def _measured(results: dict[str, Any], key: str) -> NDArray[np.float64]:
    if key not in results:
        raise ValueError(
            f"The search has no criterion {key.split('_test_')[1]!r}; it measured "
            f"{', '.join(_criteria(results))}. Name one of these, or add it to scoring."
        )
    return np.asarray(results[key], dtype=float)
