"""All that training needs, as one value, and what decides whether two of them share a stack."""

import copy
from dataclasses import dataclass

import torch

from sk_infovae._base.seeds import private_rng
from sk_infovae._model.architecture import Architecture
from sk_infovae._model.graph import AXES_CELLS, find_neighbors, places_of
from sk_infovae._model.layout import TableLayout
from sk_infovae._model.start import start_from_pca
from sk_infovae._model.vae import VAE
from sk_infovae._table.standardizer import row_blocks
from sk_infovae._training.net import InfoVAENet
from sk_infovae._training.plan import TrainingPlan
from sk_infovae._training.rows import DiskRows, Rows, hold_out

START_ROWS, START_CELLS = 100_000, 2**26
"""Rows, evenly spaced, on which the best constant model is measured; and their cells at most."""

PCA_CELLS, PCA_ROWS = 2**21, (64, 20_000)
"""PCA is taken of so many inputs and outputs; the least and the most rows."""


@dataclass(frozen=True)
class StackKey:
    """What two trainings must share to take each step together; equal keys, one stack.

    Attributes
    ----------
    architecture : Architecture
        Shapes, and which column has which likelihood.
    plan : TrainingPlan
        Less what may be each model's own (`TrainingPlan.shared`).
    n_rows : tuple of int
        For training and for validation.
    has_mask : tuple of bool
        Whether cells are missing there.
    """

    architecture: Architecture
    plan: TrainingPlan
    n_rows: tuple[int, int]
    has_mask: tuple[bool, bool]


@dataclass(frozen=True, eq=False)
class Training:
    """All that one fit needs, ready to start, alone or in a stack.

    Attributes
    ----------
    plan : TrainingPlan
    architecture : Architecture
    module : VAE
        Freshly drawn, or a copy of a trained one.
    seed : int
        Of shuffling and noise.
    rows, valid : Rows
        Training and validation rows (or None).
    """

    plan: TrainingPlan
    architecture: Architecture
    module: VAE
    seed: int
    rows: Rows
    valid: Rows | None

    @property
    def draws_globally(self) -> bool:
        """Whether a part of the user's own may draw from torch's global generators, dropout say."""
        return self.architecture.is_custom or self.plan.is_custom

    @property
    def key(self) -> StackKey | None:
        """What it must share with others; None for one that must train alone."""
        on_disk = isinstance(self.rows, DiskRows)  # whose batches come in an order of its own
        if self.architecture.is_custom or on_disk or not self.plan.can_stack:
            return None
        sets = [self.rows, self.valid]
        n_rows = [0 if rows is None else len(rows) for rows in sets]
        has_mask = [rows is not None and rows.mask is not None for rows in sets]
        return StackKey(
            self.architecture,
            self.plan.shared,
            (n_rows[0], n_rows[1]),
            (has_mask[0], has_mask[1]),
        )


def prepare_training(
    layout: TableLayout,
    plan: TrainingPlan,
    rows: Rows,
    valid: Rows | None = None,
    previous: InfoVAENet | None = None,
) -> Training:
    """Hold out rows, build or copy the module, and say how to train it.

    Parameters
    ----------
    layout : TableLayout
    plan : TrainingPlan
    rows, valid : Rows
        Without valid, a part of rows is held out where the plan asks for it.
    previous : InfoVAENet or None
        A net to go on from; it is copied, so that a failure leaves it alone.
    """
    if valid is None and plan.validation_fraction:
        rows, valid = hold_out(rows, plan.validation_fraction, layout.seed_for("split"))
    plan = plan.for_rows(len(rows))
    if previous is None:
        n_epochs, module = 0, build_module(layout, rows)
    else:
        n_epochs, module = len(previous.history), copy.deepcopy(previous.plain_module)
    if plan.neighbor_weight:
        n_train, k = len(rows), plan.n_neighbors
        rows = with_neighbors(rows, module, k)
        if valid is not None:  # as near as those in training, however few the rows are
            valid = with_neighbors(valid, module, max(1, round(k * len(valid) / n_train)))
    seed = layout.seed_for("train", n_epochs)
    return Training(plan, layout.architecture, module, seed, rows, valid)


def with_neighbors(rows: Rows, module: VAE, n_neighbors: int) -> Rows:
    """The same rows, each with the positions of its nearest others, found once for a table."""
    k = min(n_neighbors, len(rows) - 1)
    key = rows.chosen.numpy().tobytes(), k
    if key not in rows.graphs:
        places = torch.arange(len(rows))
        blocks = (
            rows.__getitems__(places[block]) for block in row_blocks(len(rows), module.inputs.width)
        )
        some = rows.spread(1 + AXES_CELLS // module.inputs.width)
        rows.graphs[key] = find_neighbors(places_of(module, blocks, some), k)
    twin = rows.subset(torch.arange(len(rows)))
    twin.neighbors = rows.graphs[key]
    return twin


def build_module(layout: TableLayout, rows: Rows) -> VAE:
    """A module with fresh weights, begun where the rows say."""
    with private_rng(layout.seed_for("weights"), "cpu"):
        module = layout.architecture.build()
    outputs = torch.zeros(module.likelihood.n_outputs)
    if module.is_measured:
        with torch.no_grad():
            most = max(PCA_ROWS[0], START_CELLS // module.likelihood.n_columns)
            outputs = module.init_from_data(*rows.spread(min(START_ROWS, most)))
    n_rows = PCA_CELLS // (module.inputs.width + module.likelihood.n_outputs)
    some = rows.spread(max(PCA_ROWS[0], min(PCA_ROWS[1], n_rows)))
    start_from_pca(module, layout.architecture.n_components, some, outputs)
    return module
