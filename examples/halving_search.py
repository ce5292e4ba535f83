"""
Halving: short trainings first, the long ones for the best
==========================================================

`HalvingGridSearchCV` with ``resource="max_epochs"``: every candidate trains for a few epochs, the
best third of them three times as long, and so on. Beside it `GridSearchCV`, which trains all of
them to the end. Breast cancer, 30 columns; at most a minute of CPU time.

Candidates are compared by the score, log p(x) of held-out rows in nats. It has the same units for
every alpha and lambd. A loss has not: the weights are part of it, and the least one would win.

A candidate with few epochs is a whole training, not the beginning of a long one: its learning rate
falls to 0 within them. Early stopping is off, so that each takes the epochs it is given.

Halving takes a third of the grid's epochs here, and chooses the same weights.
"""

import time

from sklearn.datasets import load_breast_cancer
from sklearn.experimental.enable_halving_search_cv import HalvingGridSearchCV
from sklearn.model_selection import GridSearchCV, train_test_split

from sk_infovae import InfoVAETransformer
from sk_infovae.likelihoods import Gaussian

EPOCHS = 90
GRID = {"alpha": [0.0, 0.5, 0.9], "lambd": [1, 10, 100]}

X_train, X_test = train_test_split(load_breast_cancer().data, random_state=0)
vae = InfoVAETransformer(
    4,
    likelihood=Gaussian(scale="optimal"),
    max_epochs=EPOCHS,
    early_stopping=False,
    n_importance_samples=32,
    random_state=0,
)

# %%
# The whole grid, then three rounds: 9 candidates with a ninth of the epochs, 3 with a third, 1 with
# all of them.
start = time.process_time()
grid = GridSearchCV(vae, GRID, cv=3).fit(X_train)
cpu = {"grid": time.process_time() - start}

start = time.process_time()
halving = HalvingGridSearchCV(
    vae,
    GRID,
    resource="max_epochs",
    min_resources=EPOCHS // 9,
    max_resources=EPOCHS,
    factor=3,
    cv=3,
    random_state=0,
).fit(X_train)
cpu["halving"] = time.process_time() - start

# %%
# The rounds of the halving: what each candidate reached there, in nats per sample.
results = halving.cv_results_
for epochs in halving.n_resources_:
    print(f"\n{epochs} epochs")
    for row in (results["n_resources"] == epochs).nonzero()[0]:
        params = {name: results["params"][row][name] for name in GRID}
        print(f"  {results['mean_test_score'][row]:9.2f}  {params}")

# %%
# Both winners on the test rows. Halving may drop a candidate that only a long training would have
# shown to be the best.
epochs = {
    "halving": 3 * int(results["n_resources"].sum()),
    "grid": 3 * EPOCHS * len(grid.cv_results_["params"]),
}
print("\n           epochs   CPU seconds   test score   chosen")
for name, search in {"halving": halving, "grid": grid}.items():
    chosen = {key: search.best_params_[key] for key in GRID}
    print(
        f"{name:8}   {epochs[name]:6}   {cpu[name]:11.1f}   {search.score(X_test):10.2f}   {chosen}"
    )
