"""What two processes check together: ``python two_processes.py RANK FILE``, see test_shares.py."""

import sys
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist
from sklearn.base import clone
from sklearn.datasets import load_wine

from sk_infovae import InfoVAETransformer
from sk_infovae._model.inputs import EncoderInputs
from sk_infovae._model.networks import default_decoder, default_encoder
from sk_infovae._model.objective import InfoVAELoss
from sk_infovae._model.shares import CURRENT, Shares
from sk_infovae._model.vae import VAE
from sk_infovae.divergences import DIVERGENCES
from sk_infovae.likelihoods import Bernoulli, ColumnLikelihoods, Gaussian
from sk_infovae.model_selection import InfoVAEGridSearchCV
from sk_infovae.parallel import data_parallel

D, N_STEPS, SIZES = 2, 50, (33, 8, 1)
"""Latent dimensions, steps, and the batches' rows in turn: fewer than the processes, too."""


class Trained:
    """A model and its objective, in float64 and the same at each making."""

    def __init__(self, divergence, neighbor_weight):
        torch.manual_seed(0)
        likelihoods = [Gaussian("learned"), Bernoulli(), Gaussian("learned")]
        self.module = VAE(
            default_encoder(3, D, (5,), torch.nn.Tanh),
            default_decoder(D, 3, (5,), torch.nn.Tanh),
            ColumnLikelihoods(likelihoods),
            EncoderInputs(likelihoods),
        ).double()
        parameters = divergence.init_parameters(D, torch.Generator().manual_seed(1))
        criterion = InfoVAELoss(0.5, 10.0, divergence, parameters, neighbor_weight)
        self.criterion = criterion.double()
        every = [*self.module.parameters(), *self.criterion.parameters()]
        self.learned = [p for p in every if p.requires_grad]
        self.optimizer = torch.optim.Adam(self.learned, lr=1e-2)

    def step(self, x, mask, noise):
        """Terms and gradients, then a step; all of them as numbers."""
        self.optimizer.zero_grad()
        terms = self.criterion(self.module, x, mask, noise, 100)
        terms.loss.backward()
        CURRENT.get().sum_gradients(self.module.parameters(), self.criterion.parameters())
        self.optimizer.step()
        values = [term.reshape(1) for term in terms if term is not None]
        return torch.cat([*values, *(p.grad.flatten() for p in self.learned)]).detach()


def check_steps(shares, divergence, neighbor_weight):
    """Terms and gradients are those of one process on the joined batch, step by step."""
    together, alone = (Trained(divergence, neighbor_weight) for _ in range(2))
    draws = torch.Generator().manual_seed(2)
    for number in range(N_STEPS):
        n = SIZES[number % len(SIZES)]
        given = 2 * n if neighbor_weight else n
        x = torch.randn(given, 3, generator=draws, dtype=torch.float64)
        x[:, 1] = (x[:, 1] > 0).double()
        mask = (torch.rand(given, 3, generator=draws) < 0.8).double()
        n_noise = alone.criterion.noise_rows(given)
        batch = x, mask, torch.randn(n_noise, D, generator=draws, dtype=torch.float64)
        before = CURRENT.set(shares)
        found = together.step(*batch)
        CURRENT.reset(before)
        torch.testing.assert_close(found, alone.step(*batch), rtol=1e-7, atol=1e-9)
    check_same(torch.cat([p.detach().flatten() for p in together.learned]))


def check_same(values):
    """Every process has the very same numbers."""
    values = torch.as_tensor(values).contiguous()
    every = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(every, values)
    assert all(torch.equal(one, values) for one in every)


def tables():
    """Numbers, and a mixed table with holes."""
    wine = load_wine(as_frame=True)
    frame = wine.data.iloc[:, :5].copy()
    frame.iloc[::7, 1] = np.nan
    frame["grape"] = pd.Categorical(np.array(["a", "b", "c"])[wine.target])
    return {"numbers": wine.data.to_numpy(), "mixed": frame}


def check_fits():
    """A fit and a search by both are those of one process but for rounding."""
    small = {"hidden_layer_sizes": (8,), "batch_size": 25, "max_epochs": 4, "random_state": 0}
    small["n_importance_samples"] = 32
    for X in tables().values():
        for params in (
            {},
            {"neighbor_weight": 5.0},
            {"divergence": "adversarial", "alpha": 0.9},
            {"max_epochs": 30, "n_iter_no_change": 2, "tol": 0.1},
        ):
            vae = InfoVAETransformer(2, **{**small, **params})
            alone = clone(vae).fit(X)
            with data_parallel():
                vae.fit(X)
            assert len(vae.history_) == len(alone.history_)
            for name in ("loss", "valid_loss"):
                losses = [[row[name] for row in one.history_] for one in (vae, alone)]
                np.testing.assert_allclose(*losses, rtol=1e-4)
            np.testing.assert_allclose(vae.transform(X), alone.transform(X), atol=2e-3)
            check_same(vae.transform(X))
        grid = {"alpha": [0.0, 0.9], "tol": [0.0, 0.3, 1e6]}  # they stop one after the other
        vae = InfoVAETransformer(2, **{**small, "max_epochs": 12, "n_iter_no_change": 2})
        search = InfoVAEGridSearchCV(vae, grid, cv=2)
        alone = clone(search).fit(X)
        with data_parallel():
            search.fit(X)
        scores = [one.cv_results_["mean_test_score"] for one in (search, alone)]
        np.testing.assert_allclose(*scores, rtol=1e-3)


def check_refusals(rank):
    """Processes that were given different things say so, each of them, and train nothing."""
    X, vae = tables()["numbers"], InfoVAETransformer(2, max_epochs=2, random_state=0)
    cases = {
        "cells .*": (vae, X + rank * np.sin(X)),
        "in cells": (vae, X[:: 1 - 2 * rank]),
        "rows": (vae, X[rank:]),
        "seeds": (clone(vae).set_params(random_state=rank), X),
        "parameters": (clone(vae).set_params(alpha=0.5 + 0.1 * rank), X),
    }
    for name, (one, table) in cases.items():
        with pytest.raises(ValueError, match=f"must be given the same table.*{name}"):
            with data_parallel():
                one.fit(table)
        assert not hasattr(one, "module_")
    search = InfoVAEGridSearchCV(vae, {"alpha": [0.0, 0.1 * rank]}, cv=2)
    with pytest.raises(ValueError, match=r"must be given the same table.*parameters"):
        with data_parallel():
            search.fit(X)


def check_what_does_not_go():
    """Said by each, before anything is trained."""
    X, vae = tables()["numbers"], InfoVAETransformer(2, max_epochs=2, random_state=0)
    with TemporaryDirectory() as folder:
        kept = clone(vae).set_params(memory=folder)
        search = InfoVAEGridSearchCV(vae, {"alpha": [0.0, 0.9]}, cv=2, memory=folder)
        for one in (kept, search):
            with pytest.raises(ValueError, match="memory and data_parallel don't go together"):
                with data_parallel():
                    one.fit(X)
    with pytest.raises(ValueError, match="set by whole batches"):
        with data_parallel():
            clone(vae).set_params(likelihood=Gaussian("optimal")).fit(X)


def check_one_that_shows(rank):
    """A line of progress in one process only."""
    vae = InfoVAETransformer(2, max_epochs=2, random_state=0, verbose=int(rank == 0))
    with data_parallel():
        InfoVAEGridSearchCV(vae, {"alpha": [0.0, 0.9]}, cv=2).fit(tables()["numbers"])


def main(rank, file):
    """All checks, in the same order in both processes."""
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    shares = Shares(rank, 2)
    for divergence in DIVERGENCES.values():
        for neighbor_weight in (0.0, 3.0):
            check_steps(shares, divergence(), neighbor_weight)
    check_fits()
    check_refusals(rank)
    check_what_does_not_go()
    check_one_that_shows(rank)
    dist.barrier()  # neither leaves while the other still asks for it
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
