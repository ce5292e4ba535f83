"""One model in many threads and processes, many fits in one process: the bits of one alone."""

import multiprocessing
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from skorch.callbacks import Callback

from sk_infovae import InfoVAETransformer
from sk_infovae.metrics import elbo


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def small(**params):
    defaults = {"max_epochs": 3, "n_importance_samples": 16, "random_state": 0}
    return InfoVAETransformer(2, **{**defaults, **params})


def frame(n_rows=300, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 6))
    X[rng.random(X.shape) < 0.1] = np.nan
    return pd.DataFrame(X, columns=list("abcdef")).assign(
        g=pd.Categorical(rng.choice(["u", "v", "w"], n_rows)), h=rng.random(n_rows) < 0.3
    )


def wide(n_rows=2000):
    """Whose fit takes more threads than one."""
    return np.random.default_rng(0).normal(size=(n_rows, 150))


def answers(vae, X):
    Z = vae.transform(X)
    filled = vae.impute(X, n_draws=1, random_state=1)[0]
    tables = [filled, vae.sample(50, random_state=1), vae.inverse_transform(Z)]
    scores = [*vae.posterior(X), *vae.score_samples(X, return_ess=True)]
    numbers = [elbo(vae, X), vae.information(X).mutual_information]
    return [one.to_numpy(dtype=object) for one in tables], Z, scores, numbers


def answer_of(job):
    """What one of them is asked in another process."""
    return answers(*job)


def test_one_model_in_eight_threads():
    X = frame()
    vae = small().fit(X)
    alone = answers(vae, X)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: answers(vae, X), range(16)):
            np.testing.assert_equal(found, alone)


@pytest.mark.parametrize(
    "start",
    ["fork", *(pytest.param(one, marks=pytest.mark.slow) for one in ("forkserver", "spawn"))],
)
def test_one_model_in_four_processes(start):
    """A fork finds the threads of OpenMP gone, which its parent has used."""
    X = frame()
    vae = small().fit(X)
    alone = answers(vae, X)
    assert torch.get_num_threads() == 2
    torch.ones(2_000_000).sum()
    context = multiprocessing.get_context(start)
    with ProcessPoolExecutor(4, mp_context=context) as pool:
        for found in pool.map(answer_of, [(vae, X)] * 4, timeout=120):
            np.testing.assert_equal(found, alone)


def fit_in_a_fork(pipe, X):
    signal.alarm(60)
    pipe.send(small().fit(X).transform(X))


def test_a_fit_in_a_fork():
    X = wide()
    small().fit(X)
    with joblib.parallel_config(n_jobs=1):
        torch.set_num_threads(1)
        alone = small().fit(X).transform(X)
        torch.set_num_threads(2)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=fit_in_a_fork, args=(theirs, X))
    process.start()
    assert ours.poll(60)
    np.testing.assert_array_equal(ours.recv(), alone)
    process.join(60)


def answers_in_a_fork(pipe, vae, X):
    signal.alarm(60)
    thread = threading.Thread(target=vae.transform, args=(X,))
    thread.start()
    thread.join()
    pipe.send(vae.transform(X))


def test_a_thread_of_a_fork_and_then_the_fork_itself():
    X = wide()
    vae = small().fit(X)
    Z = vae.transform(X)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=answers_in_a_fork, args=(theirs, vae, X))
    process.start()
    assert ours.poll(60)
    np.testing.assert_array_equal(ours.recv(), Z)
    process.join(60)


def fitted(seed):
    """A fit, small or large, and how many threads there are after it."""
    X = frame(120) if seed % 2 else wide()
    vae = small(random_state=seed, n_importance_samples=8).fit(X)
    return vae.transform(X), torch.get_num_threads()


def test_fits_in_threads_disturb_neither_seeds_nor_thread_counts():
    alone = [fitted(seed) for seed in range(6)]
    random, numpys = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    for _ in range(2):
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(fitted, range(6)))
        np.testing.assert_equal(together, alone)
    assert {count for _, count in together} == {2}
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.get_rng_state(), random)
    np.testing.assert_equal(np.random.get_state(), numpys)  # noqa: NPY002


def test_a_thread_that_begins_during_a_fit_has_all_threads():
    counts = []

    class Looking(Callback):
        def on_batch_begin(self, net, **kwargs):
            counts.append(torch.get_num_threads())

        def on_epoch_end(self, net, **kwargs):
            thread = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
            thread.start()
            thread.join()

    small(net_params={"callbacks": [Looking()]}, max_epochs=1).fit(frame(60))
    assert set(counts[:-1]) == {1}
    assert counts[-1] == 2


def n_threads_of_a_worker(_):
    return torch.get_num_threads()


def test_workers_of_joblib_share_the_cores():
    counts = joblib.Parallel(n_jobs=2)(joblib.delayed(n_threads_of_a_worker)(k) for k in range(4))
    assert max(counts) <= max(1, joblib.cpu_count() // 2)
