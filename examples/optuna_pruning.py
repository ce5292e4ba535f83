"""
Optuna: give up a trial by its held-out score
=============================================

A callback of scikit-learn (1.9 and later) reports the score every few epochs to Optuna and leaves
`fit` by ``TrialPruned`` where the trial lags behind the median. The estimator is then as it was
before `fit`. Breast cancer, 30 columns; at most a minute of CPU time.

What is reported decides whether pruning is fair. ``valid_loss`` is not: alpha and lambd are part of
that loss, so the trial with the smaller weights looks better whatever its model is worth. The score
is log p(x) in nats per sample, the same quantity for every trial. It is measured on rows that no
fit has seen, and all trials follow one schedule, so that epoch 20 of one stands beside epoch 20 of
another. With ``max_epochs`` in the search they would not.

A slow start can still end well. So the same trials run once more, all to the end: the table shows
what the pruned ones would have come to. Four of fifteen are given up here, none of which would have
won.
"""

import time

import optuna
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from sk_infovae import InfoVAETransformer
from sk_infovae.likelihoods import Gaussian

EPOCHS = 60
TRIALS = 15

optuna.logging.set_verbosity(optuna.logging.WARNING)
X_train, X_test = train_test_split(load_breast_cancer().data, random_state=0)
X_train, X_valid = train_test_split(X_train, test_size=0.25, random_state=0)


# %%
# The callback sees a copy of the estimator as the epoch left it.
class PruneByScore:
    """Reports the score of held-out rows, and ends the trial where Optuna says so."""

    def __init__(self, trial, X, every=EPOCHS // 6):
        self.trial, self.X, self.every = trial, X, every

    def setup(self, estimator, context):
        """Nothing to prepare."""

    def teardown(self, estimator, context):
        """Nothing to put away."""

    def on_fit_task_begin(self, estimator, context):
        """Nothing to do."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        """Report every so many epochs."""
        epoch = context.task_id + 1
        if context.task_name == "epoch" and epoch % self.every == 0:
            self.trial.report(fitted_estimator.score(self.X), epoch)
            if self.trial.should_prune():
                raise optuna.TrialPruned


# %%
# A trial: weights and dimension drawn by Optuna, one fit, its held-out score. Early stopping is
# off: it watches a loss, and other rows.
def objective(trial):
    """Held-out log-likelihood in nats per sample."""
    vae = InfoVAETransformer(
        trial.suggest_int("n_components", 1, 8),
        alpha=trial.suggest_float("alpha", 0, 1),
        lambd=trial.suggest_float("lambd", 1, 1e4, log=True),
        likelihood=Gaussian(scale="optimal"),
        max_epochs=EPOCHS,
        early_stopping=False,
        n_importance_samples=64,
        random_state=0,
    )
    return vae.set_callbacks(PruneByScore(trial, X_valid)).fit(X_train).score(X_valid)


# %%
# Both studies draw the same trials: their sampler is random. A search in earnest takes Optuna's
# default sampler, which learns from the trials. No trial is given up in the first quarter.
studies, cpu = {}, {}
median = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=EPOCHS // 4)
for pruner in (median, optuna.pruners.NopPruner()):
    name = type(pruner).__name__
    sampler = optuna.samplers.RandomSampler(seed=0)
    studies[name] = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    start = time.process_time()
    studies[name].optimize(objective, n_trials=TRIALS)
    cpu[name] = time.process_time() - start

pruned, full = studies.values()
print("trial   n_components   alpha    lambd   with pruning   to the end")
for one, other in zip(pruned.trials, full.trials, strict=True):
    params = one.params
    stopped = one.state == optuna.trial.TrialState.PRUNED
    outcome = f"epoch {one.last_step}" if stopped else f"{one.value:.2f}"
    print(
        f"{one.number:5}   {params['n_components']:12}   {params['alpha']:5.2f}"
        f"   {params['lambd']:6.0f}   {outcome:>12}   {other.value:10.2f}"
    )
for name, study in studies.items():
    print(f"\n{name}: best {study.best_value:.2f} by trial {study.best_trial.number}, ", end="")
    print(f"{cpu[name]:.1f} seconds of CPU time", end="")
print()

# %%
# The winner, on rows that had no part in the choice.
best = InfoVAETransformer(
    **pruned.best_params,
    likelihood=Gaussian(scale="optimal"),
    max_epochs=EPOCHS,
    early_stopping=False,
    random_state=0,
).fit(X_train)
print(f"test score of {pruned.best_params}: {best.score(X_test):.2f}")
