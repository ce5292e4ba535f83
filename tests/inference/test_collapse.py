"""The warning that a code is empty: when it comes, what it says, and that its mend helps."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from sk_infovae import InfoVAETransformer
from sk_infovae._base.posterior import Posterior
from sk_infovae._inference.collapse import describe_collapse
from sk_infovae.exceptions import PosteriorCollapseWarning


def small(n_components=8, **params):
    defaults = {
        "hidden_layer_sizes": (32,),
        "max_epochs": 20,
        "lr": 1e-2,
        "n_importance_samples": 4,
        "random_state": 0,
    }
    return InfoVAETransformer(n_components, **(defaults | params))


@pytest.fixture(scope="module")
def digits():
    return load_digits().data[:600]


def plane(n_rows=400, seed=0):
    """Two directions that matter in six columns."""
    rng = np.random.default_rng(seed)
    directions = np.array([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]])
    return rng.normal(size=(n_rows, 2)) @ directions + 0.3 * rng.normal(size=(n_rows, 6))


def overfull():
    """A linear net with 5 dimensions for the plane's 2, and a KL that kills the others."""
    return small(
        5,
        alpha=-1,
        lambd=2,
        hidden_layer_sizes=(),
        max_epochs=120,
        lr=2e-2,
        early_stopping=False,
    )


def warning_of(vae, X):
    """The text that fit warns with; None where it is silent."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", PosteriorCollapseWarning)
        vae.fit(X)
    assert len(caught) < 2
    return str(caught[0].message) if caught else None


class BiasOnly(nn.Module):
    """The same outputs for every input."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.outputs = nn.Parameter(torch.zeros(n_outputs))

    def forward(self, inputs):
        return self.outputs.expand(*inputs.shape[:-1], -1)


class HalfDead(nn.Module):
    """All dimensions but the first two stay with the prior."""

    def __init__(self, n_inputs, n_components):
        super().__init__()
        self.linear = nn.Linear(n_inputs, 2 * n_components)
        alive = torch.arange(2 * n_components) % n_components < 2
        self.register_buffer("alive", alive.float())

    def forward(self, x):
        return self.linear(x) * self.alive


class Prior(BiasOnly):
    """The prior for every row."""

    def __init__(self, n_inputs, n_components):
        super().__init__(n_inputs, 2 * n_components)

    def forward(self, inputs):
        return super().forward(inputs) * 0


# When it comes


def test_a_heavy_kl_kills_all_dimensions_and_the_message_names_alpha(digits):
    message = warning_of(small(alpha=-99, lambd=100, max_epochs=60), digits)
    assert message.startswith("8 of 8 latent dimensions are dead after fit")
    assert "0, 1, 2, 3, 4, 5, 6, 7." in message
    assert "Raise alpha towards 1 (alpha=-99 puts the weight 100 on KL(q(z|x)||p(z))" in message
    assert "n_components" not in message  # none would stay


@pytest.mark.parametrize("lambd", [10.0, 1e6])
@pytest.mark.parametrize("alpha", [1, 0.95])
def test_at_alpha_near_1_the_message_names_lambd(digits, alpha, lambd):
    message = warning_of(small(3, alpha=alpha, lambd=lambd, encoder=Prior), digits)
    assert message.startswith("3 of 3 latent dimensions are dead")
    assert f"Lower lambd (lambd={lambd:g} puts the weight {alpha + lambd - 1:g}" in message
    assert "alpha" not in message


def test_dead_dimensions_are_counted_and_named():
    """Of a linear net's 5 dimensions, 2 stay; they are those with a KL to speak of."""
    X = plane()
    vae = overfull()
    message = warning_of(vae, X)
    found = vae.information(X)
    dead = np.flatnonzero(found.kl_per_dimension < 0.01)
    assert len(dead) == 3
    assert found.active_units == 2
    assert "3 of 5 latent dimensions are dead after fit" in message
    assert f"prior there: {', '.join(map(str, dead))}." in message
    assert "alpha=-1 puts the weight 2 on KL" in message
    assert message.endswith("Or lower n_components to 2.")
    assert warning_of(vae.set_params(n_components=2, max_epochs=30), X) is None


def test_many_dead_dimensions_are_shortened(digits):
    message = warning_of(small(15, encoder=HalfDead, max_epochs=5), digits)
    assert message.startswith("13 of 15 latent dimensions are dead")
    assert "prior there: 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 ...." in message
    assert message.endswith("Or lower n_components to 2.")


def test_the_warning_points_at_the_line_that_fits(digits):
    with pytest.warns(PosteriorCollapseWarning) as caught:
        small(2, encoder=Prior, max_epochs=1).fit(digits)
    assert issubclass(PosteriorCollapseWarning, UserWarning)
    assert [one.category for one in caught] == [PosteriorCollapseWarning]


@pytest.mark.parametrize("name", ["alpha", "lambd"])
def test_a_decoder_that_ignores_the_code_has_its_own_message(digits, name):
    """Its code is as full as others: only the decoder shows the fault."""
    params = {"alpha": 0.5} if name == "alpha" else {"alpha": 0.99}
    vae = small(2, encoder=HalfDead, decoder=BiasOnly, max_epochs=3, **params)
    message = warning_of(vae, digits)
    assert vae.information(digits).active_units == 2
    assert message.startswith("The decoder ignores z: it does as well with the codes of other")
    assert message.endswith("Or train longer.")
    assert ("Raise alpha towards 1 (alpha=0.5" in message) == (name == "alpha")
    assert ("Lower lambd (lambd=10" in message) == (name == "lambd")


# When it does not


@pytest.mark.parametrize("divergence", ["mmd", "kl", "sliced_wasserstein", "ksd"])
def test_a_good_fit_is_silent(digits, divergence):
    assert warning_of(small(divergence=divergence), digits) is None


def test_default_weights_and_widths_are_silent_on_digits():
    assert (
        warning_of(InfoVAETransformer(8, max_epochs=15, random_state=0), load_digits().data) is None
    )


def test_the_mend_helps(digits):
    """What the message asks for, step by step, until it is silent."""
    vae = small(alpha=-99, lambd=100, max_epochs=60)
    assert "Raise alpha towards 1" in warning_of(vae, digits)
    assert warning_of(vae.set_params(alpha=0.5), digits) is None


def test_partial_fit_is_silent_and_fit_after_it_is_not(digits):
    vae = small(2, encoder=Prior, max_epochs=1, warm_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vae.partial_fit(digits).partial_fit(digits)
    assert warning_of(vae, digits).startswith("2 of 2")


def test_an_error_made_of_the_warning_leaves_the_estimator_as_it_was(digits):
    loud = small(2, encoder=Prior, max_epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", PosteriorCollapseWarning)
        with pytest.raises(PosteriorCollapseWarning):
            loud.fit(digits)
    assert not hasattr(loud, "net_")


def test_two_rows_are_no_collapse():
    """Each row is exchanged with the other, never with itself."""
    X = np.random.default_rng(0).normal(size=(2, 4))
    vae = InfoVAETransformer(1, max_epochs=300, early_stopping=False, random_state=0)
    assert warning_of(vae, X) is None


# Order and company of the rows


@pytest.mark.parametrize("collapsed", [False, True])
def test_sorted_rows_change_nothing(collapsed):
    """Rows in the order of what matters to the code; some of 2500 are looked at."""
    X = plane()
    vae = overfull() if collapsed else small(2, hidden_layer_sizes=(), lr=2e-2)
    message = warning_of(vae, X)
    assert (message is not None) == collapsed
    for of_sorted in (X, plane(2500, seed=1)):
        of_sorted = of_sorted[np.argsort(of_sorted[:, :3].sum(1))]
        found = vae._model().describe_collapse(of_sorted, vae.net_.criterion_)
        assert found == message


@pytest.mark.parametrize("n_copies", [2, 4])
def test_a_table_that_repeats_itself_is_no_collapse(digits, n_copies):
    """An exchange of codes must not meet the row's own copy."""
    assert warning_of(small(2), np.vstack([digits[:100]] * n_copies)) is None


def test_rows_of_few_kinds_by_turns_are_no_collapse():
    """Yes or no in a cycle, as weekdays make it: the code knows the day."""
    X = np.tile(np.eye(4), (50, 1))
    vae = small(2, likelihood="bernoulli", max_epochs=60, lr=2e-2)
    message = warning_of(vae, X)
    assert vae.information(X).mutual_information > 1
    assert message is None


# The two thresholds


class Fixed(nn.Module):
    """A posterior and a decoder with given numbers, for `describe_collapse`."""

    def __init__(self, mean, log_variance, squares):
        super().__init__()
        self.q = mean, log_variance
        self.squares = squares

    def encode(self, x, mask):
        return Posterior(*self.q)

    def decoder(self, z):
        return z

    @property
    def likelihood(self):
        return self

    def log_prob(self, x, outputs, mask):
        return -0.5 * self.squares * (x - outputs).square().sum(-1)


def alternating(n=100):
    return torch.tensor([1.0, -1.0]).repeat_interleave(n // 2).double()[:, None]


@pytest.mark.parametrize(
    ("size", "log_variance", "dead"),
    [
        (0.0, 0.0, True),
        (0.099, 0.0, True),  # KL .0049, variance of the means .0098
        (0.101, 0.0, False),  # KL .0051, variance of the means .0102
        (0.0, -0.18, True),  # KL .0076
        (0.0, -0.22, False),  # KL .0113
    ],
)
def test_dead_is_a_small_kl_and_still_means(size, log_variance, dead):
    """A second dimension is well alive, and the decoder hangs on it."""
    signs = alternating()
    mean = torch.cat([size * signs, 2 * signs], 1)
    log_variances = torch.tensor([log_variance, -3.0]).double().expand(100, -1)
    module = Fixed(mean, log_variances, 1.0)
    message = describe_collapse(module, mean, None, 0.5, 10.0)
    assert (message is not None) == dead
    assert not dead or "1 of 2 latent dimensions are dead" in message


@pytest.mark.parametrize(("squares", "ignored"), [(0.0, True), (0.007, True), (0.015, False)])
def test_ignored_is_an_exchange_for_less_than_a_hundredth_of_a_nat(squares, ignored):
    """Codes +-1: the wrong one costs 2 ``squares``, which meets half of 100 rows, +- 15."""
    signs = alternating()
    module = Fixed(signs, torch.full_like(signs, -3.0), squares)
    message = describe_collapse(module, signs, None, 0.5, 10.0)
    assert (message is not None) == ignored
