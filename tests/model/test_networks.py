"""Encoder, decoder and the module that joins them."""

import pytest
import torch
from torch import nn

from sk_infovae._base.posterior import MOST_LOG_VARIANCE
from sk_infovae._model.inputs import EncoderInputs
from sk_infovae._model.networks import (
    ACTIVATIONS,
    Linear,
    SkipPerceptron,
    check_shapes,
    default_decoder,
    default_encoder,
    mlp,
)
from sk_infovae._model.vae import VAE
from sk_infovae.likelihoods import Bernoulli, ColumnLikelihoods, Gaussian


@pytest.fixture(autouse=True)
def fixed_weights():
    """The same initial weights in every test, and torch's global generator as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def widths(network):
    return [
        (layer.in_features, layer.out_features)
        for layer in network.modules()
        if isinstance(layer, nn.Linear)
    ]


def make_module(hole_columns=(), n_columns=4, n_components=2):
    """A VAE over two gaussian and two boolean columns."""
    likelihoods = [Gaussian(), Bernoulli()] * (n_columns // 2)
    likelihood = ColumnLikelihoods(likelihoods)
    return VAE(
        default_encoder(n_columns + len(hole_columns), n_components, (6,), nn.SiLU),
        default_decoder(n_components, likelihood.n_outputs, (6,), nn.SiLU),
        likelihood,
        EncoderInputs(likelihoods, hole_columns),
    )


# Networks


def test_encoder_and_decoder_mirror_each_other():
    assert widths(default_encoder(7, 2, (5, 3), nn.ReLU).body) == [(7, 5), (5, 3), (3, 4)]
    assert widths(default_decoder(2, 7, (5, 3), nn.ReLU).body) == [(2, 3), (3, 5), (5, 7)]


@pytest.mark.parametrize("hidden", [(), (5,), (5, 3)])
@pytest.mark.parametrize("leading", [(1,), (4,), (2, 3)])
def test_shapes(hidden, leading):
    x, z = normal(*leading, 7), normal(*leading, 2)
    assert default_encoder(7, 2, hidden, nn.SiLU)(x).shape == (*leading, 4)
    assert default_decoder(2, 7, hidden, nn.SiLU)(z).shape == (*leading, 7)


@pytest.mark.parametrize("network", [default_encoder(7, 2, (), nn.SiLU), mlp(7, (), 4, nn.SiLU)])
def test_encoder_without_hidden_layers_is_affine(network):
    a, b = normal(5, 7), normal(5, 7, seed=1)
    expected = 0.3 * network(a) + 0.7 * network(b)
    torch.testing.assert_close(network(0.3 * a + 0.7 * b), expected)


def test_decoder_without_hidden_layers_is_one_affine_map():
    decoder = default_decoder(2, 7, (), nn.SiLU)
    assert widths(decoder) == [(2, 7)]
    torch.testing.assert_close(decoder(torch.zeros(1, 2))[0], decoder.bias)


def test_skip_decoder_adds_a_linear_map_to_its_body():
    decoder = default_decoder(2, 7, (5,), nn.Tanh)
    assert isinstance(decoder, SkipPerceptron)
    z = normal(6, 2)
    torch.testing.assert_close(decoder(z), decoder.body(z) + z @ decoder.skip.weight.T)
    decoder.body[-1].weight.data.zero_()
    torch.testing.assert_close(decoder(z), z @ decoder.skip.weight.T + decoder.body[-1].bias)


def test_hidden_layers_bend_the_map():
    a, b = normal(5, 2), normal(5, 2, seed=1)
    decoder = default_decoder(2, 7, (5,), nn.Tanh)
    straight = 0.5 * decoder(a) + 0.5 * decoder(b)
    assert (decoder(0.5 * a + 0.5 * b) - straight).abs().max() > 1e-3


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_stands_between_layers_and_not_after_the_last(name):
    network = mlp(3, (4, 4), 2, ACTIVATIONS[name])
    kinds = [type(layer) for layer in network]
    assert kinds == [Linear, ACTIVATIONS[name], Linear, ACTIVATIONS[name], Linear]


# Their shapes are checked


class Widened(nn.Module):
    """A network whose output is too wide by one; it remembers the mode it ran in."""

    def __init__(self, n_inputs, n_outputs, extra=1):
        super().__init__()
        self.layer = nn.Linear(n_inputs, n_outputs + extra)
        self.modes = []

    def forward(self, x):
        self.modes.append(self.training)
        return self.layer(x)


def test_shapes_that_fit_pass():
    check_shapes(nn.Linear(7, 4), nn.Linear(2, 7), n_inputs=7, n_components=2, n_outputs=7)


@pytest.mark.parametrize(
    ("encoder", "decoder", "says"),
    [
        (
            Widened(7, 4),
            nn.Linear(2, 9),
            r"The encoder must map \(batch, 7\) to \(batch, 4\).*\(2, 5\).*\(n_inputs, n_comp",
        ),
        (
            nn.Linear(7, 4),
            Widened(2, 9),
            r"The decoder must map \(batch, 2\) to \(batch, 9\).*\(2, 10\).*\(n_components, n_out",
        ),
        (
            nn.Sequential(nn.Linear(7, 4), nn.Flatten(0)),
            nn.Linear(2, 9),
            r"The encoder must map \(batch, 7\) to \(batch, 4\).*\(8,\)",
        ),
    ],
)
def test_wrong_width_names_the_network_and_the_mend(encoder, decoder, says):
    with pytest.raises(ValueError, match=says):
        check_shapes(encoder, decoder, n_inputs=7, n_components=2, n_outputs=9)


@pytest.mark.parametrize("training", [False, True])
def test_the_check_runs_in_eval_mode_and_leaves_the_mode_alone(training):
    encoder = Widened(7, 4, extra=0).train(training)
    check_shapes(encoder, nn.Linear(2, 9), n_inputs=7, n_components=2, n_outputs=9)
    assert encoder.modes == [False]
    assert encoder.training == training
    assert all(parameter.grad is None for parameter in encoder.parameters())


# The module


def test_forward_encodes_draws_and_decodes():
    module, x, noise = make_module(), normal(5, 4), normal(5, 2, seed=1)
    posterior, z, outputs = module(x, None, noise)
    mean, log_variance = module.encoder(x).split(2, -1)
    torch.testing.assert_close(posterior.mean, mean)
    torch.testing.assert_close(posterior.log_variance, log_variance)
    torch.testing.assert_close(z, mean + (0.5 * log_variance).exp() * noise)
    torch.testing.assert_close(outputs, module.decoder(z))
    assert outputs.shape == (5, module.likelihood.n_outputs)


def test_forward_draws_nothing():
    module, x, noise = make_module(), normal(5, 4), normal(5, 2, seed=1)
    state = torch.get_rng_state()
    first = module(x, None, noise)
    torch.testing.assert_close(module(x, None, noise), first)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("hole_columns", [(), (2,), (3, 1)])
def test_no_mask_is_a_mask_of_ones(hole_columns):
    module, x = make_module(hole_columns), normal(5, 4)
    expected = module.encode(x)
    for ones in (torch.ones(5, 4), torch.ones(5, 4, dtype=torch.bool)):
        torch.testing.assert_close(module.encode(x, ones), expected)


def test_marks_say_which_cells_were_observed_in_the_hole_columns():
    """They stand behind the cells, in the order of the hole columns."""
    module, x = make_module((3, 1)), normal(5, 4)
    mask = normal(5, 4, seed=2) > 0
    inputs = torch.cat([x, mask[:, [3, 1]].float()], 1)
    mean, log_variance = module.encoder(inputs).split(2, -1)
    found = module.encode(x, mask)
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.log_variance, log_variance)


def test_the_encoder_is_not_told_of_holes_in_other_columns():
    module, x = make_module((3,)), normal(5, 4)
    mask = torch.ones(5, 4, dtype=torch.bool)
    mask[:, 0] = False
    torch.testing.assert_close(module.encode(x, mask), module.encode(x))
    mask[:, 3] = False
    assert (module.encode(x, mask).mean != module.encode(x).mean).all()


def test_rows_do_not_see_each_other():
    module, x, noise = make_module(), normal(5, 4), normal(5, 2, seed=1)
    together = module(x, None, noise).outputs
    apart = torch.cat([module(x[i, None], None, noise[i, None]).outputs for i in range(5)])
    torch.testing.assert_close(together, apart)


def test_no_code_is_much_wider_than_the_prior():
    """A row unlike all others may have any log-variance by the network; what is used is held."""
    module, x = make_module(), normal(5, 4)
    module.encoder.body[-1].bias.data[2:] = torch.tensor([60.0, -3.0])
    found = module.encode(x)
    raw = module.encoder(x)[:, 2:]
    assert (found.log_variance[:, 0] == MOST_LOG_VARIANCE).all()
    torch.testing.assert_close(found.log_variance[:, 1], raw[:, 1])
    found.log_variance.sum().backward()
    gradient = module.encoder.body[-1].bias.grad
    torch.testing.assert_close(gradient, torch.tensor([0.0, 0.0, 0.0, 5.0]))
