"""The written out step against autograd through the objective."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sk_infovae._model.architecture import Architecture
from sk_infovae._model.networks import ACTIVATIONS
from sk_infovae._model.objective import InfoVAELoss, Terms, stack_losses
from sk_infovae._training.flat_adam import FlatAdam
from sk_infovae._training.written_out import MOST_SIZES, WrittenOut
from sk_infovae.divergences import KL, KSD, MMD, Adversarial, SlicedWasserstein
from sk_infovae.likelihoods import Bernoulli, Categorical, Gaussian, StudentT

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
WEIGHTS = [(0.0, 1.0), (0.5, 10.0), (1.0, 1e-3), (1.0, 1e4), (-3.0, 4.0)]
DIVERGENCES = [
    MMD(),
    MMD(bandwidth=0.7),
    MMD("imq"),
    MMD(bandwidth=[1.0, 4.0]),
    MMD(estimator="mixture"),
    KSD(),
    KL(),
    SlicedWasserstein(),
]


def build(c=4, d=2, hidden=(5, 3), activation="silu", likelihood=None, seed=0, **options):
    """A model whose every parameter is random, some noise far below the floor."""
    arguments = {"encoder": None, "decoder": None, "hole_columns": (), "has_outliers": False}
    arguments["likelihoods"] = (likelihood or Gaussian(),) * c
    module = Architecture(
        n_components=d,
        hidden_layer_sizes=hidden,
        activation=activation,
        **arguments | options,
    ).build()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in learned(module).items():
            p.normal_(0, 3.0 if name.endswith("log_variance") else 0.5, generator=generator)
    return module


def learned(module):
    """Every parameter that a gradient reaches, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def draw(criterion, n, c, d, masked, seed=1, dtype=torch.float32):
    """Cells, mask and noise of one batch."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, c, generator=generator).to(dtype)
    mask = (torch.rand(n, c, generator=generator) < 0.7).to(dtype) if masked else None
    return x, mask, torch.randn(criterion.noise_rows(n), d, generator=generator).to(dtype)


def by_autograd(module, criterion, batch, n_rows=50):
    """Terms and gradients as autograd finds them."""
    both = nn.ModuleDict({"module": module, "criterion": criterion})
    both.zero_grad()
    terms = criterion(module, *batch, n_rows)
    terms.loss.backward()
    gradients = {name: p.grad for name, p in learned(both).items()}
    both.zero_grad()
    return Terms(*(term if term is None else term.detach() for term in terms)), gradients


def assert_close(found, expected, rtol, scale=0.0):
    """Equal to so many digits of the tensor's largest number, or to two more of the scale's.

    Of a tensor of one number, a sum whose terms all but cancel, rounding leaves fewer digits.
    """
    atol = rtol * max(expected.abs().max().item(), scale / 100)
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol + 1e-30)


def assert_as_autograd(module, written, criterion, batch, rtol=1e-4):
    terms, gradients = by_autograd(module, criterion, batch)
    found = written.step(*batch, 50)
    for term, expected in zip(found, terms, strict=True):
        assert (term is None) == (expected is None)
        if term is not None:
            assert not term.requires_grad
            assert_close(term, expected, rtol, scale=1.0)  # D is a difference of means near 1
    largest = max(gradient.abs().max().item() for gradient in gradients.values())
    both = nn.ModuleDict({"module": module, "criterion": criterion})
    for name, p in learned(both).items():
        # Of log s a sum of n^2 terms up to the weight, which cancel.
        scale = criterion.neighbor_weight if name.endswith("log_scale") else 0.0
        assert_close(p.grad, gradients[name], rtol, max(largest, scale))


@settings(deadline=None, max_examples=150)
@given(
    n=st.sampled_from([1, 2, 3, 7, 33]),
    c=st.integers(1, 5),
    d=st.integers(1, 3),
    hidden=st.lists(st.integers(1, 5), max_size=3).map(tuple),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    likelihood=st.builds(
        Gaussian,
        st.sampled_from(["calibrated", "learned"]),
        shared=st.booleans(),
        standardised=st.booleans(),
        floor=st.sampled_from([1e-4, 2]),
    ),
    masked=st.booleans(),
    weights=st.sampled_from(WEIGHTS),
    divergence=st.sampled_from(DIVERGENCES),
    neighbor_weight=st.sampled_from([0.0, 3.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 10**6),
)
def test_terms_and_gradients_are_autograds(
    n,
    c,
    d,
    hidden,
    activation,
    likelihood,
    masked,
    weights,
    divergence,
    neighbor_weight,
    dtype,
    seed,
):
    holes = (0, c - 1)[: min(c, 2)] if masked else ()
    module = build(c, d, hidden, activation, likelihood, seed, hole_columns=holes).to(dtype)
    criterion = InfoVAELoss(*weights, divergence, neighbor_weight=neighbor_weight).to(dtype)
    written = WrittenOut.of(module, criterion)
    assert written is not None
    batch = draw(criterion, 2 * n if neighbor_weight else n, c, d, masked, seed, dtype)
    for _ in range(2):  # what a step leaves behind is no part of the next
        assert_as_autograd(module, written, criterion, batch, TOLERANCE[dtype])


@settings(deadline=None, max_examples=60)
@given(
    k=st.sampled_from([1, 3]),
    n=st.sampled_from([1, 2, 7]),
    hidden=st.lists(st.integers(1, 5), max_size=2).map(tuple),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    shared=st.booleans(),
    masked=st.booleans(),
    divergence=st.sampled_from(DIVERGENCES),
    with_neighbors=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_a_stack_has_what_each_model_has_alone(
    k, n, hidden, activation, shared, masked, divergence, with_neighbors, seed
):
    c, d, dtype = 3, 2, torch.float64
    models = [
        build(c, d, hidden, activation, Gaussian(shared=shared), seed + j).to(dtype)
        for j in range(k)
    ]
    criteria = [
        InfoVAELoss(
            *WEIGHTS[(seed + j) % len(WEIGHTS)],
            divergence,
            neighbor_weight=with_neighbors * (1.0 + j),
        ).double()
        for j in range(k)
    ]
    for j, criterion in enumerate(criteria):
        for scale in criterion.parameters():
            scale.data.fill_(0.3 * j)
    n = 2 * n if with_neighbors else n
    batches = [draw(criteria[0], n, c, d, masked, seed + j, dtype) for j in range(k)]
    stacked = {
        name: torch.stack([dict(m.named_parameters())[name].detach() for m in models])
        for name in dict(models[0].named_parameters())
    }
    criterion = stack_losses(criteria, "cpu")
    written = WrittenOut.of(models[0], criterion, parameters=stacked)
    assert written is not None
    x, mask, noise = (
        None if one[0] is None else torch.stack(one) for one in zip(*batches, strict=True)
    )
    for _ in range(2):
        found = written.step(x, mask, noise, 50)
    found_gradients = {f"module.{name}": p.grad for name, p in stacked.items()}
    if with_neighbors:
        found_gradients["criterion.log_scale"] = criterion.log_scale.grad
    for j in range(k):
        terms, gradients = by_autograd(models[j], criteria[j], batches[j])
        for term, expected in zip(found, terms, strict=True):
            assert (term is None) == (expected is None)
            if term is not None:
                assert term.shape == (k,)
                assert_close(term[j], expected, 1e-9, scale=1.0)
        for name, expected in gradients.items():
            assert_close(found_gradients[name][j], expected, 1e-9, 1e-3)


def test_batches_may_change_their_size():
    """More often than memory is kept for, and with masks that come and go."""
    criterion = InfoVAELoss(0.5, 10.0, MMD())
    module = build()
    written = WrittenOut.of(module, criterion)
    assert written is not None
    for n in [6, 1, 6, *range(2, 2 * MOST_SIZES), 6]:
        for masked in (False, True, False):
            assert_as_autograd(module, written, criterion, draw(criterion, n, 4, 2, masked, n))
        assert len(written.passes) <= MOST_SIZES


def test_terms_stay_as_they_were_given():
    criterion = InfoVAELoss(0.5, 10.0, MMD())
    module = build()
    written = WrittenOut.of(module, criterion)
    assert written is not None
    first = written.step(*draw(criterion, 5, 4, 2, False), 50)
    values = [term.item() for term in first if term is not None]
    assert len(values) == 4
    written.step(*draw(criterion, 5, 4, 2, False, seed=2), 50)
    assert [term.item() for term in first if term is not None] == values


def test_weights_may_change_while_training():
    criterion = InfoVAELoss(0.5, 10.0, MMD())
    module = build()
    written = WrittenOut.of(module, criterion)
    assert written is not None
    for criterion.alpha, criterion.lambd in [(0.5, 10.0), (0.0, 1.0), (1.0, 3.0)]:
        assert_as_autograd(module, written, criterion, draw(criterion, 5, 4, 2, False))


def test_inputs_that_are_drawn_in():
    criterion = InfoVAELoss(0.5, 10.0, MMD())
    module = build(has_outliers=True).double()
    with torch.no_grad():
        module.encoder.body[-1].weight *= 1e-3
        module.encoder.skip.weight *= 1e-3
    written = WrittenOut.of(module, criterion)
    assert written is not None
    x, _, noise = draw(criterion, 5, 4, 2, False, dtype=torch.float64)
    assert_as_autograd(module, written, criterion, (500 * x, None, noise), 1e-9)


def test_codes_far_out_keep_the_digits_that_the_plain_path_keeps():
    """float32's errors of |z_i - z_j|^2 grow with |z|^2, here as there."""
    criterion = InfoVAELoss(0.5, 10.0, MMD(bandwidth=0.5))
    module = build()
    with torch.no_grad():
        module.encoder.body[-1].bias[:2] = 1e4
        module.encoder.body[-1].weight[:2] *= 10
    batch = draw(criterion, 9, 4, 2, False)
    exact = by_autograd(
        copy.deepcopy(module).double(), criterion, [b if b is None else b.double() for b in batch]
    )[0].divergence
    written = WrittenOut.of(module, criterion)
    assert written is not None
    plain = by_autograd(module, criterion, batch)[0].divergence
    found = written.step(*batch, 50).divergence
    assert abs(found - exact) < 2 * abs(plain - exact) + 1e-4


def test_loaded_and_replaced_parameters_are_followed():
    criterion = InfoVAELoss(0.5, 10.0, MMD())
    module, other, batch = build(), build(seed=5), draw(InfoVAELoss(0, 1, MMD()), 5, 4, 2, False)
    written = WrittenOut.of(module, criterion)
    assert written is not None
    written.step(*batch, 50)
    module.load_state_dict(other.state_dict())
    assert_as_autograd(module, written, criterion, batch)
    module.encoder.body[0].weight.data = torch.ones(5, 4)
    assert_as_autograd(module, written, criterion, batch)


class Own(nn.Sequential):
    def forward(self, x):
        return super().forward(x) * 2


def tied():
    module = build(hidden=(4, 4, 4))
    module.encoder.body[2].weight = module.encoder.body[4].weight
    return module


def changed(change):
    module = build()
    change(module)
    return module


UNCOVERED = {
    "levels": lambda: build(likelihood=Categorical().bind(3)),
    "bits": lambda: build(likelihood=Bernoulli()),
    "heavy tails": lambda: build(likelihood=StudentT()),
    "optimal noise": lambda: build(likelihood=Gaussian("optimal")),
    "fixed noise": lambda: build(likelihood=Gaussian(0.5)),
    "own encoder": lambda: build(encoder=lambda i, d: Own(nn.Linear(i, 2 * d))),
    "dropout": lambda: build(encoder=lambda i, d: nn.Sequential(nn.Linear(i, 9), nn.Dropout(),
                                                                nn.Linear(9, 2 * d))),
    "no bias": lambda: build(decoder=lambda d, o: nn.Linear(d, o, bias=False)),
    "other slope": lambda: build(activation=lambda: nn.ELU(0.5)),
    "other activation": lambda: build(activation=nn.Sigmoid),
    "frozen": lambda: changed(lambda m: m.encoder.body[0].requires_grad_(False)),
    "tied": tied,
    "hook": lambda: changed(lambda m: m.decoder.register_forward_hook(lambda *_: None)),
    "hook on the way back": lambda: changed(
        lambda m: m.encoder.body[0].weight.register_hook(lambda g: 0 * g)
    ),
    "hook on gradients": lambda: changed(
        lambda m: m.encoder.body[0].weight.register_post_accumulate_grad_hook(lambda p: None)
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", UNCOVERED.values(), ids=UNCOVERED.keys())
def test_other_models_are_left_to_autograd(make):
    assert WrittenOut.of(make(), InfoVAELoss(0.5, 10.0, MMD())) is None


def test_mixed_tables_and_critics_are_left_to_autograd():
    criterion = InfoVAELoss(0.5, 10.0, MMD())
    for other in (Gaussian(shared=True), Bernoulli()):
        mixed = build(likelihoods=(Gaussian(), other))
        assert WrittenOut.of(mixed, criterion) is None
    critic = Adversarial().init_parameters(2, torch.Generator())
    assert WrittenOut.of(build(), InfoVAELoss(0.5, 10.0, Adversarial(), critic)) is None


def test_networks_of_ones_own_that_are_chains_are_covered():
    """Also with different activations."""
    module = build(
        encoder=lambda i, d: nn.Sequential(
            nn.Linear(i, 7), nn.ReLU(), nn.Linear(7, 3), nn.Tanh(), nn.Linear(3, 2 * d)
        ),
        decoder=lambda d, o: nn.Sequential(nn.Linear(d, 6), nn.GELU(), nn.Linear(6, o)),
    )
    criterion = InfoVAELoss(0.5, 10.0, MMD())
    written = WrittenOut.of(module, criterion)
    assert written is not None
    assert_as_autograd(module, written, criterion, draw(criterion, 5, 4, 2, False))


def test_training_goes_where_autograds_goes():
    criterion = InfoVAELoss(0.5, 10.0, MMD())
    module = build(c=6, hidden=(16, 8))
    twin = copy.deepcopy(module)
    optimizer = FlatAdam(module.parameters(), lr=1e-3)
    plain = torch.optim.Adam(twin.parameters(), lr=1e-3, fused=True)
    written = WrittenOut.of(module, criterion, optimizer.gradients)
    assert written is not None
    for step in range(20):
        batch = draw(criterion, 17 if step % 5 == 4 else 32, 6, 2, False, seed=step)
        optimizer.zero_grad()
        found = written.step(*batch, 500)
        optimizer.step()
        plain.zero_grad()
        expected = criterion(twin, *batch, 500)
        expected.loss.backward()
        plain.step()
        assert math.isclose(found.loss.item(), expected.loss.item(), rel_tol=1e-4)
    for p, q in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-4)
