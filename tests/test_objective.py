"""The objective against losses written out with torch.distributions, and its weights."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.distributions import Bernoulli as BernoulliLaw
from torch.distributions import Normal, kl_divergence

from sk_infovae.divergences import MMD, Divergence
from sk_infovae.likelihoods import Bernoulli, ColumnLikelihoods, Gaussian
from sk_infovae.module import VAE
from sk_infovae.networks import default_decoder, default_encoder
from sk_infovae.objective import InfoVAELoss, check_weights, coefficients
from sk_infovae.posterior import Posterior

N, D = 9, 2
KINDS = ["gaussian", "bernoulli", "gaussian"]


class Batch:
    """A small network and one batch, in float64, with what the tests need written out."""

    def __init__(self, masked=False, seed=0):
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        likelihoods = [Gaussian() if kind == "gaussian" else Bernoulli() for kind in KINDS]
        n_columns = len(KINDS)
        self.module = VAE(
            default_encoder(n_columns, D, (5,), torch.nn.Tanh),
            default_decoder(D, n_columns, (5,), torch.nn.Tanh),
            ColumnLikelihoods(likelihoods),
            torch.tensor([], dtype=torch.long),
        ).double()
        for parameter in self.module.parameters():
            parameter.data.copy_(0.7 * normal(*parameter.shape))
        self.x, self.noise = normal(N, n_columns), normal(N, D)
        self.x[:, 1] = (self.x[:, 1] > 0).double()
        self.mask = (normal(N, n_columns) < 0.5).double() if masked else None

    def terms(self, alpha, lambd, divergence=None):
        loss = InfoVAELoss(alpha, lambd, divergence or MMD())
        return loss(self.module, self.x, self.mask, self.noise)

    # The same terms, written independently

    def encoded(self):
        mean, log_variance = self.module.encoder(self.x).split(D, dim=1)
        return Normal(mean, log_variance.exp().sqrt())

    def codes(self):
        q = self.encoded()
        return q.mean + q.stddev * self.noise

    def reconstruction(self):
        """E log p(x|z): outputs stand by block, the gaussian columns 0 and 2 first."""
        outputs = self.module.decoder(self.codes())
        log_variance = self.module.likelihood.parameter_dicts[0]["log_variance"]
        numbers = Normal(outputs[:, :2], (1e-4 + log_variance.exp()).sqrt())
        cells = torch.empty(N, 3, dtype=torch.float64)
        cells[:, [0, 2]] = numbers.log_prob(self.x[:, [0, 2]])
        cells[:, 1] = BernoulliLaw(logits=outputs[:, 2]).log_prob(self.x[:, 1])
        return (cells if self.mask is None else cells * self.mask).sum(1).mean()

    def kl(self):
        return kl_divergence(self.encoded(), Normal(0.0, 1.0)).sum(1).mean()

    def mmd(self, s2=float(D)):
        z = self.codes()
        distance = (z[:, None] - z[None]).square().sum(-1)
        off_diagonal = 1 - torch.eye(N).double()
        qq = (torch.exp(-distance / (2 * s2)) * off_diagonal).sum() / (N * (N - 1))
        qp = (1 + 1 / s2) ** (-D / 2) * torch.exp(-z.square().sum(1) / (2 * (s2 + 1))).mean()
        return qq - 2 * qp + (1 + 2 / s2) ** (-D / 2)


class Constant(Divergence):
    """A divergence of a given value."""

    def __init__(self, value):
        self.value = value

    def __call__(self, z, posterior):
        return z.new_tensor(self.value)


def gradients(value, module):
    return torch.autograd.grad(value, list(module.parameters()), materialize_grads=True)


over_masks = pytest.mark.parametrize("masked", [False, True])

NAMED = {
    "VAE": (0.0, 1.0, lambda b: -b.reconstruction() + b.kl()),
    "beta-VAE, 4": (-3.0, 4.0, lambda b: -b.reconstruction() + 4 * b.kl()),
    "beta-VAE, 0.25": (0.75, 0.25, lambda b: -b.reconstruction() + 0.25 * b.kl()),
    "MMD-VAE": (1.0, 100.0, lambda b: -b.reconstruction() + 100 * b.mmd()),
    "InfoVAE": (0.5, 10.0, lambda b: -b.reconstruction() + 0.5 * b.kl() + 9.5 * b.mmd()),
}


@over_masks
@pytest.mark.parametrize(("alpha", "lambd", "written_out"), NAMED.values(), ids=NAMED)
def test_named_members_have_the_losses_of_their_papers(alpha, lambd, written_out, masked):
    """Loss and gradient of every parameter of the network."""
    check_weights(alpha, lambd)
    batch = Batch(masked)
    loss, expected = batch.terms(alpha, lambd).loss, written_out(batch)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        gradients(loss, batch.module), gradients(expected, batch.module), rtol=1e-9, atol=1e-12
    )


@over_masks
def test_terms_are_reported_without_their_weights(masked):
    batch = Batch(masked)
    terms = batch.terms(0.5, 10.0)
    torch.testing.assert_close(terms.reconstruction, batch.reconstruction())
    torch.testing.assert_close(terms.kl, batch.kl())
    torch.testing.assert_close(terms.divergence, batch.mmd())


@given(alpha=st.floats(-5, 1), excess=st.floats(1e-6, 1e4), value=st.floats(-1, 2))
@settings(max_examples=30, deadline=None)
def test_loss_is_linear_in_the_terms_with_the_weights_of_the_design(alpha, excess, value):
    lambd = 1 - alpha + excess
    terms = Batch().terms(alpha, lambd, Constant(value))
    expected = -terms.reconstruction + (1 - alpha) * terms.kl + (alpha + lambd - 1) * value
    torch.testing.assert_close(terms.loss, expected, rtol=1e-12, atol=1e-9)
    assert coefficients(alpha, lambd) == (1 - alpha, alpha + lambd - 1)


def test_a_better_reconstruction_lowers_the_loss():
    """Noise added to the decoder's fit raises the loss by what log p(x|z) loses."""
    batch = Batch()
    before = batch.terms(0.5, 10.0)
    with torch.no_grad():
        batch.x[:, 0] += 10
        # The encoder reads x, too: hold its side still.
        batch.module.encoder[0].weight[:, 0] = 0
    after = batch.terms(0.5, 10.0, Constant(before.divergence.item()))
    assert after.reconstruction < before.reconstruction
    change = after.loss - before.loss
    expected = before.reconstruction - after.reconstruction + 0.5 * (after.kl - before.kl)
    torch.testing.assert_close(change, expected)


@pytest.mark.parametrize(("alpha", "weight"), [(0.5, 0.5), (1.0, 0.0), (-1.0, 2.0)])
def test_kl_is_a_penalty(alpha, weight):
    """A narrower q(z|x) with the same draws costs 1 - alpha times the nats that it adds."""
    batch = Batch()
    near = batch.terms(alpha, 3.0, Constant(0.0))
    with torch.no_grad():
        codes = batch.codes()
        batch.module.encoder[-1].bias[D:] -= 8.0
        batch.noise = (codes - batch.encoded().mean) / batch.encoded().stddev
    far = batch.terms(alpha, 3.0, Constant(0.0))
    torch.testing.assert_close(far.reconstruction, near.reconstruction)
    assert far.kl > near.kl
    torch.testing.assert_close(far.loss - near.loss, weight * (far.kl - near.kl))


@pytest.mark.parametrize(("alpha", "lambd", "weight"), [(0.0, 1.0, 0), (0.5, 1.0, 0.5), (1, 7, 7)])
def test_divergence_is_a_penalty(alpha, lambd, weight):
    batch = Batch()
    low, high = (batch.terms(alpha, lambd, Constant(value)).loss for value in (0.25, 1.25))
    assert (high - low).item() == pytest.approx(weight)


def test_every_term_is_per_sample():
    """A batch and the same batch twice have the same reconstruction and KL."""
    batch = Batch(masked=True)
    once = batch.terms(0.5, 1.0)
    batch.x, batch.noise = torch.cat([batch.x] * 2), torch.cat([batch.noise] * 2)
    batch.mask = torch.cat([batch.mask] * 2)
    twice = batch.terms(0.5, 1.0)
    torch.testing.assert_close(twice.reconstruction, once.reconstruction)
    torch.testing.assert_close(twice.kl, once.kl)


def test_one_row_has_no_divergence_and_finite_gradients():
    batch = Batch()
    batch.x, batch.noise = batch.x[:1], batch.noise[:1]
    terms = batch.terms(0.5, 10.0)
    assert terms.divergence.item() == 0
    assert all(gradient.isfinite().all() for gradient in gradients(terms.loss, batch.module))


# The weights


@pytest.mark.parametrize(
    ("alpha", "lambd"), [(0, 1), (1, 1), (1, 1e-9), (1.0, 1e4), (0.5, 0.5), (-3, 4), (0.9, 0.1)]
)
def test_weights_on_the_boundary_are_allowed(alpha, lambd):
    check_weights(alpha, lambd)
    assert min(coefficients(alpha, lambd)) >= 0


@given(tenths=st.integers(1, 10_000), digits=st.integers(1, 4))
@settings(max_examples=300, deadline=None)
@example(tenths=14, digits=1)
def test_every_beta_vae_is_allowed(tenths, digits):
    """alpha = 1 - beta and lambd = beta, typed as decimals: -0.4 + 1.4 is not 1 in floats."""
    scale = 10**digits
    check_weights((scale - tenths) / scale, tenths / scale)
    check_weights(1 - tenths / scale, tenths / scale)


@pytest.mark.parametrize(
    ("alpha", "lambd", "says"),
    [
        (1.5, 1.0, r"^alpha must be at most 1, got alpha=1\.5.*Choose alpha <= 1"),
        (math.nextafter(1, 2), 1.0, r"^alpha must be at most 1, got alpha=1\.0000000000000002"),
        (math.inf, 1.0, r"^alpha must be at most 1, got alpha=inf"),
        (math.nan, 1.0, r"^alpha must be at most 1, got alpha=nan"),
        (1.0, 0.0, r"^lambd must be positive and finite, got lambd=0\.0.*Choose lambd > 0"),
        (1, -2, r"^lambd must be positive and finite, got lambd=-2.*Choose lambd > 0"),
        (0.5, math.inf, r"^lambd must be positive and finite, got lambd=inf"),
        (0.5, math.nan, r"^lambd must be positive and finite, got lambd=nan"),
        (0.25, 0.5, r"^alpha \+ lambd .*alpha=0\.25 and lambd=0\.5.*Choose lambd >= 0\.75"),
        (-math.inf, 1.0, r"^alpha \+ lambd .*alpha=-inf and lambd=1\.0"),
    ],
)
def test_weights_outside_are_refused_by_name_with_a_mend(alpha, lambd, says):
    with pytest.raises(ValueError, match=says):
        check_weights(alpha, lambd)


@given(alpha=st.floats(-1e8, 0.999))
@settings(max_examples=200, deadline=None)
def test_following_the_mend_is_accepted(alpha):
    """The lambd that the message proposes is one that passes."""
    with pytest.raises(ValueError, match="Choose lambd >= ") as refusal:
        check_weights(alpha, (1 - alpha) / 2)
    check_weights(alpha, float(str(refusal.value).split("lambd >= ")[1].split()[0]))


# q(z|x)


def random_posterior():
    mean, log_variance = torch.randn(
        (2, 4, 5, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    return Posterior(mean, 2 * log_variance)


def test_posterior_kl_is_that_of_torch_distributions():
    posterior = random_posterior()
    law = Normal(posterior.mean, posterior.log_variance.exp().sqrt())
    expected = kl_divergence(law, Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(posterior.kl(), expected, rtol=1e-12, atol=1e-12)


def test_posterior_kl_is_zero_for_the_prior_only():
    zero = torch.zeros(1, 3)
    assert Posterior(zero, zero).kl().item() == 0
    assert (random_posterior().kl() > 0).all()


def test_posterior_draw_moves_and_scales_the_noise():
    posterior = random_posterior()
    zero = torch.zeros_like(posterior.mean)
    assert torch.equal(posterior.draw(zero), posterior.mean)
    expected = Normal(posterior.mean, posterior.log_variance.exp().sqrt())
    uniform = torch.rand((4, 5, 3), generator=torch.Generator().manual_seed(1)).double()
    drawn = posterior.draw(Normal(0.0, 1.0).icdf(uniform))
    torch.testing.assert_close(drawn, expected.icdf(uniform), rtol=1e-12, atol=1e-12)
