"""Halving over max_epochs, and Optuna trials that are pruned by their score."""

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV, KFold, cross_val_score

from sk_infovae import InfoVAETransformer

EXAMPLES = Path(__file__).parents[2] / "examples"
X = load_wine().data


def small(**params):
    defaults = {"max_epochs": 6, "hidden_layer_sizes": (8,), "n_importance_samples": 8}
    return InfoVAETransformer(**{**defaults, "batch_size": 32, "random_state": 0, **params})


def run_example(name, **settings):
    """Run a script with other settings; what it leaves behind, by name."""
    source = (EXAMPLES / name).read_text(encoding="utf-8")
    for setting, value in settings.items():
        source, found = re.subn(rf"(?m)^{setting} = \d+$", f"{setting} = {value}", source)
        assert found == 1
    namespace = {"__name__": "__main__"}
    exec(compile(source, name, "exec"), namespace)
    return namespace


def test_halving_gives_what_the_estimator_gives_by_itself():
    cv = KFold(2)
    search = HalvingGridSearchCV(
        small(),
        {"alpha": [0.0, 0.5, 0.9], "lambd": [1.0, 100.0]},
        resource="max_epochs",
        min_resources=2,
        max_resources=6,
        factor=3,
        cv=cv,
        random_state=0,
    ).fit(X)
    assert search.n_resources_ == [2, 6]
    assert search.n_candidates_ == [6, 2]
    results = search.cv_results_
    for row, params in enumerate(results["params"]):
        assert params["max_epochs"] == results["n_resources"][row]
        alone = cross_val_score(clone(small()).set_params(**params), X, cv=cv)
        found = [results[f"split{k}_test_score"][row] for k in range(2)]
        np.testing.assert_allclose(found, alone, rtol=1e-6)
    first, last = ({k: p[k] for k in ("alpha", "lambd")} for p in results["params"][-2:])
    best = np.argsort(results["mean_test_score"][:6])[-2:]
    kept = [{k: results["params"][row][k] for k in ("alpha", "lambd")} for row in best]
    assert first in kept
    assert last in kept
    assert search.best_estimator_.max_epochs == 6


def test_a_loss_does_not_compare_across_weights_and_the_score_does():
    """The same model under other weights: all but untrained, from one seed."""
    models = [
        small(alpha=alpha, lambd=lambd, lr=1e-12, max_epochs=1).fit(X)
        for alpha, lambd in [(0.0, 1.0), (0.9, 1.0), (0.5, 1000.0)]
    ]
    scores = [model.score(X) for model in models]
    losses = [model.history_[-1]["valid_loss"] for model in models]
    np.testing.assert_allclose(scores, scores[0], rtol=1e-6)
    assert np.ptp(losses) > 0.1


@pytest.fixture(scope="module")
def example():
    """The names of a short run of examples/optuna_pruning.py."""
    pytest.importorskip("optuna", reason="needs optuna")
    pytest.importorskip("sklearn.callback", reason="callbacks came with scikit-learn 1.9")
    return run_example("optuna_pruning.py", EPOCHS=6, TRIALS=6)


def test_the_optuna_example(example):
    pruned, full = example["studies"].values()
    assert [one.params for one in pruned.trials] == [one.params for one in full.trials]
    assert {one.state.name for one in full.trials} == {"COMPLETE"}
    assert {one.state.name for one in pruned.trials} == {"COMPLETE", "PRUNED"}
    for one, other in zip(pruned.trials, full.trials, strict=True):
        # What both reported is one quantity, and pruning did not touch it.
        for epoch, value in one.intermediate_values.items():
            assert value == other.intermediate_values[epoch]


@pytest.mark.parametrize("was_fitted", [False, True])
def test_a_pruned_fit_leaves_the_estimator_unharmed(example, was_fitted):
    optuna, prune = example["optuna"], example["PruneByScore"]
    pruner = optuna.pruners.MedianPruner(n_startup_trials=1)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    trial, vae = study.ask(), small(max_epochs=4, early_stopping=False, lr=1e-2)
    score = vae.set_callbacks(prune(trial, X, every=2)).fit(X).score(X)
    study.tell(trial, score)
    assert study.trials[0].intermediate_values[4] == score

    vae = vae if was_fitted else small(max_epochs=4)
    embedding = vae.transform(X) if was_fitted else None
    trial = study.ask()
    vae.set_callbacks(prune(trial, X, every=2)).set_params(lr=1e-8, n_components=1)
    before = dict(vars(vae))
    with pytest.raises(optuna.TrialPruned):
        vae.fit(X)
    assert study.tell(trial, state=optuna.trial.TrialState.PRUNED).last_step == 2
    assert vars(vae) == before
    if was_fitted:
        np.testing.assert_array_equal(vae.transform(X), embedding)
    assert vae.set_callbacks().fit(X).n_iter_ == 4


@pytest.mark.slow
def test_the_halving_example():
    names = run_example("halving_search.py", EPOCHS=9)
    assert names["halving"].n_resources_ == [1, 3, 9]
    assert names["halving"].n_candidates_ == [9, 3, 1]
    assert names["epochs"] == {"halving": 81, "grid": 243}
