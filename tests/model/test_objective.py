"""The objective against losses written out with torch.distributions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Bernoulli as BernoulliLaw
from torch.distributions import Normal, kl_divergence
from torch.func import grad, jacfwd, vmap

from sk_infovae._base.posterior import MOST_LOG_VARIANCE, Posterior
from sk_infovae._model.inputs import EncoderInputs
from sk_infovae._model.networks import default_decoder, default_encoder
from sk_infovae._model.objective import InfoVAELoss, check_weights, coefficients
from sk_infovae._model.vae import VAE
from sk_infovae.divergences import (
    DIVERGENCES,
    KL,
    KSD,
    MMD,
    Adversarial,
    Divergence,
    SlicedWasserstein,
)
from sk_infovae.divergences.adversarial import SPEED
from sk_infovae.likelihoods import Bernoulli, ColumnLikelihoods, Gaussian

N, D = 9, 2
KINDS = ["gaussian", "bernoulli", "gaussian"]


class Batch:
    """A small network and one batch, in float64, with what the tests need written out."""

    def __init__(self, masked=False, seed=0):
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        law = {"gaussian": Gaussian("learned"), "bernoulli": Bernoulli()}
        likelihoods = [law[kind] for kind in KINDS]
        n_columns = len(KINDS)
        self.module = VAE(
            default_encoder(n_columns, D, (5,), torch.nn.Tanh),
            default_decoder(D, n_columns, (5,), torch.nn.Tanh),
            ColumnLikelihoods(likelihoods),
            EncoderInputs(likelihoods),
        ).double()
        for parameter in self.module.parameters():
            parameter.data.copy_(0.7 * normal(*parameter.shape))
        self.x, self.noise = normal(N, n_columns), normal(N, D)
        self.x[:, 1] = (self.x[:, 1] > 0).double()
        self.mask = (normal(N, n_columns) < 0.5).double() if masked else None

    def further(self, divergence):
        """The draws that D asks for."""
        generator = torch.Generator().manual_seed(7)
        shape = divergence.noise_rows(len(self.x)), D
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def loss(self, alpha, lambd, divergence=None):
        """The objective; what D learns starts anywhere."""
        generator = torch.Generator().manual_seed(8)
        parameters = (divergence or MMD()).init_parameters(D, generator)
        for one in parameters.values():
            one.add_(0.1 * torch.randn(one.shape, generator=generator))
        return InfoVAELoss(alpha, lambd, divergence or MMD(), parameters).double()

    def terms(self, alpha, lambd, divergence=None, loss=None, n_rows=None):
        loss = loss or self.loss(alpha, lambd, divergence)
        noise = torch.cat([self.noise, self.further(loss.divergence)])
        assert len(noise) == loss.noise_rows(len(self.x))
        return loss(self.module, self.x, self.mask, noise, n_rows)

    # The same terms, written independently

    def encoded(self):
        mean, log_variance = self.module.encoder(self.x).split(D, dim=1)
        log_variance = log_variance.clamp(max=MOST_LOG_VARIANCE)
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

    def ksd(self, c=D / 4):
        def kernel(x, y):
            return (1 + (x - y).square().sum() / c) ** -0.5

        def stein(x, y):
            mixed = jacfwd(grad(kernel, 0), 1)(x, y).trace()
            by_scores = x @ grad(kernel, 1)(x, y) + y @ grad(kernel, 0)(x, y)
            return x @ y * kernel(x, y) - by_scores + mixed

        pairs = vmap(vmap(stein, (None, 0)), (0, None))(self.codes(), self.codes())
        return (pairs.sum() - pairs.trace()) / (N * (N - 1))

    def sliced(self):
        """The moments of N(0, 1) over each ninth of it, by Simpson's rule between quantiles."""
        standard = Normal(torch.zeros(1).double(), 1.0)
        cuts = standard.icdf(torch.arange(N + 1).double() / N).clamp(-9, 9)
        nodes = cuts[:-1] + torch.linspace(0, 1, 4001, dtype=torch.float64)[:, None] * cuts.diff()
        weights = torch.tensor([2.0, 4.0]).double().repeat(2001)[:4001, None].clone()
        weights[0] = weights[-1] = 1.0
        density = weights / 12000 * cuts.diff() * standard.log_prob(nodes).exp()
        first, second = (density * nodes).sum(0), (density * nodes**2).sum(0)
        costs = []
        for direction in self.further(SlicedWasserstein()):
            u = (self.codes() @ (direction / direction.norm())).sort().values
            costs.append((u**2 / N - 2 * u * first + second).sum())
        return torch.stack(costs).mean()

    def kl_of_q(self, n_rows=N):
        q, rows = self.encoded(), []
        for i, code in enumerate(self.codes()):
            weight = torch.full((N,), (n_rows - 1) / (n_rows * (N - 1)), dtype=torch.float64)
            weight[i] = 1 / n_rows
            density = (weight * q.log_prob(code).sum(1).exp()).sum()
            rows.append(density.log() - Normal(0.0, 1.0).log_prob(code).sum())
        return torch.stack(rows).mean()

    def log_odds(self, z, critic):
        """One hidden layer, beside a linear map."""
        critic = {name: SPEED * one for name, one in critic.items()}
        features = torch.cat([z, (z**2 - 1) / math.sqrt(2)], 1)
        hidden = features @ critic["weight_0"] + critic["bias_0"]
        hidden = torch.where(hidden > 0, hidden, 0.2 * hidden)
        return hidden @ critic["head"] + features @ critic["skip"][:-1] + critic["skip"][-1]


class Constant(Divergence):
    """A divergence of a given value."""

    def __init__(self, value):
        self.value = value

    def __call__(self, codes):
        return codes.z.new_tensor(self.value)


def gradients(value, module):
    learned = [p for p in module.parameters() if p.requires_grad]
    return torch.autograd.grad(value, learned, materialize_grads=True)


over_masks = pytest.mark.parametrize("masked", [False, True])


def info_vae(divergence_of):
    return lambda b: -b.reconstruction() + 0.5 * b.kl() + 9.5 * divergence_of(b)


NAMED = {
    "MMD-VAE": (1.0, 100.0, MMD(), lambda b: -b.reconstruction() + 100 * b.mmd()),
    "InfoVAE, mmd": (0.5, 10.0, MMD(), info_vae(Batch.mmd)),
    "InfoVAE, ksd": (0.5, 10.0, KSD(), info_vae(Batch.ksd)),
    "InfoVAE, sliced": (0.5, 10.0, SlicedWasserstein(), info_vae(Batch.sliced)),
    "InfoVAE, kl": (0.5, 10.0, KL(), info_vae(Batch.kl_of_q)),
}
for each in DIVERGENCES:
    NAMED |= {
        f"VAE, {each}": (0.0, 1.0, DIVERGENCES[each](), lambda b: -b.reconstruction() + b.kl()),
        f"beta-VAE 4, {each}": (
            -3.0,
            4.0,
            DIVERGENCES[each](),
            lambda b: -b.reconstruction() + 4 * b.kl(),
        ),
    }
NAMED["beta-VAE 0.25"] = (0.75, 0.25, MMD(), lambda b: -b.reconstruction() + 0.25 * b.kl())


@over_masks
@pytest.mark.parametrize(("alpha", "lambd", "divergence", "written_out"), NAMED.values(), ids=NAMED)
def test_named_members_have_the_losses_of_their_papers(
    alpha, lambd, divergence, written_out, masked
):
    """Loss and gradient of every parameter of the network."""
    check_weights(alpha, lambd)
    batch = Batch(masked)
    loss, expected = batch.terms(alpha, lambd, divergence).loss, written_out(batch)
    torch.testing.assert_close(loss, expected, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(
        gradients(loss, batch.module), gradients(expected, batch.module), rtol=1e-9, atol=1e-12
    )


@over_masks
@pytest.mark.parametrize(("alpha", "lambd"), [(1.0, 1.0), (0.5, 10.0), (0.0, 1.0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_adversarial_autoencoder_is_a_game_of_two(alpha, lambd, seed, masked):
    """Makhzani et al. at alpha = lambd = 1: each player's gradient is that of a loss of its own.

    The encoder's doesn't saturate, the critic's has a penalty and knows no weights, and neither
    of the two losses is the value that is reported.
    """
    batch = Batch(masked, seed)
    objective = batch.loss(alpha, lambd, Adversarial((4,), gradient_penalty=0.3))
    terms = batch.terms(alpha, lambd, loss=objective)
    critic, prior, weight = dict(objective.critic), batch.further(Adversarial()), alpha + lambd - 1

    without = -batch.reconstruction() + (1 - alpha) * batch.kl()
    still = {name: one.detach() for name, one in critic.items()}
    odds = batch.log_odds(batch.codes(), still)
    networks = without - weight / 2 * torch.sigmoid(odds).log().mean()
    torch.testing.assert_close(
        gradients(terms.loss, batch.module),
        gradients(networks, batch.module),
        rtol=1e-9,
        atol=1e-12,
    )

    fixed = torch.cat([prior, batch.codes().detach()]).requires_grad_()
    told = batch.log_odds(fixed, critic)
    v = math.log(2) + torch.sigmoid(torch.cat([told[:N], -told[N:]])).log().mean()
    slope = torch.autograd.grad(told.sum(), fixed, create_graph=True)[0]
    game = 0.15 * slope.square().sum(1).mean() - v
    mine = list(critic.values())
    torch.testing.assert_close(
        torch.autograd.grad(terms.loss, mine), torch.autograd.grad(game, mine)
    )

    torch.testing.assert_close(terms.divergence, v.clamp(min=0))
    torch.testing.assert_close(terms.loss, without + weight * v.clamp(min=0))


def test_the_critic_learns_in_training_only_and_its_loss_is_in_no_value():
    batch = Batch()
    objective = batch.loss(0.5, 10.0, Adversarial())
    training = batch.terms(0.5, 10.0, loss=objective)
    evaluated = batch.terms(0.5, 10.0, loss=objective.eval())
    values = [[t.item() for t in terms if t is not None] for terms in (training, evaluated)]
    assert values[0] == values[1]
    mine = list(objective.critic.values())
    assert all(one.any() for one in torch.autograd.grad(training.loss, mine))
    found = torch.autograd.grad(evaluated.loss, mine, materialize_grads=True)
    assert not any(one.any() for one in found)


def test_only_what_learns_adds_parameters():
    for divergence in DIVERGENCES.values():
        expected = divergence().init_parameters(D, torch.Generator())
        found = dict(Batch().loss(0.5, 10.0, divergence()).named_parameters())
        assert {f"critic.{name}": one.shape for name, one in expected.items()} == {
            name: one.shape for name, one in found.items()
        }


def test_rows_of_the_data_set_reach_the_divergence():
    batch = Batch()
    terms = batch.terms(0.5, 10.0, KL(), n_rows=1000)
    torch.testing.assert_close(terms.divergence, batch.kl_of_q(1000))
    assert abs(terms.divergence - batch.kl_of_q()) > 0.01


def test_noise_of_the_codes_comes_first():
    """The further draws change neither codes nor reconstruction."""
    batch, objective = Batch(), Batch().loss(0.5, 10.0, SlicedWasserstein())
    assert objective.noise_rows(N) == N + 64
    first = batch.further(SlicedWasserstein())
    one, other = (
        objective(batch.module, batch.x, None, torch.cat([batch.noise, further]))
        for further in (first, first.flip(1))
    )
    assert one.reconstruction == other.reconstruction
    assert one.divergence != other.divergence


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
        batch.module.encoder.body[0].weight[:, 0] = 0
        batch.module.encoder.skip.weight[:, 0] = 0
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
        batch.module.encoder.body[-1].bias[D:] -= 16.0
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
    assert torch.equal(posterior.rsample(zero), posterior.mean)
    expected = Normal(posterior.mean, posterior.log_variance.exp().sqrt())
    uniform = torch.rand((4, 5, 3), generator=torch.Generator().manual_seed(1)).double()
    drawn = posterior.rsample(Normal(0.0, 1.0).icdf(uniform))
    torch.testing.assert_close(drawn, expected.icdf(uniform), rtol=1e-12, atol=1e-12)
