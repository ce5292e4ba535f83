"""Networks of the user's own, widths and devices."""

import numpy as np
import pytest
import torch
from oracles import quadrature_score
from sklearn.datasets import load_iris
from small_tables import everything_works, small, stays_unfitted
from torch import nn

from sk_infovae import InfoVAETransformer
from sk_infovae._inference.evidence import ROUND


class Encoder(nn.Module):
    """A class that takes the two widths."""

    def __init__(self, n_inputs, n_components):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_inputs, 8), nn.Tanh())
        self.mean = nn.Linear(8, n_components)
        self.log_variance = nn.Linear(8, n_components)

    def forward(self, x):
        h = self.layers(x)
        return torch.cat([self.mean(h), self.log_variance(h)], -1)


def make_decoder(n_components, n_outputs):
    return nn.Sequential(nn.Linear(n_components, 8), nn.Tanh(), nn.Linear(8, n_outputs))


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [
        (Encoder, None),
        (None, make_decoder),
        (Encoder, make_decoder),
        (lambda i, o: nn.Linear(i, 2 * o), lambda i, o: nn.Linear(i, o)),
    ],
    ids=["class", "function", "both", "lambda"],
)
def test_networks_of_the_users_own(X, encoder, decoder):
    vae = small(encoder=encoder, decoder=decoder).fit(X)
    everything_works(vae, X)
    if encoder is Encoder:
        assert isinstance(vae.module_.encoder, Encoder)


def test_own_networks_see_the_widths_of_the_table(X):
    seen = []

    def encoder(n_inputs, n_components):
        seen.append(("encoder", n_inputs, n_components))
        return nn.Linear(n_inputs, 2 * n_components)

    def decoder(n_components, n_outputs):
        seen.append(("decoder", n_components, n_outputs))
        return nn.Linear(n_components, n_outputs)

    small(n_components=3, encoder=encoder, decoder=decoder).fit(X)
    assert seen == [("encoder", 4, 3), ("decoder", 3, 4)]


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_module_instance_is_refused(X, name):
    vae = small(**{name: nn.Linear(4, 4)})
    with pytest.raises(ValueError, match=rf"{name} must be a class or a factory"):
        vae.fit(X)
    assert stays_unfitted(vae)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"encoder": lambda i, o: nn.Linear(i, o)}, r"encoder must map .*\(batch, 4\)"),
        ({"decoder": lambda i, o: nn.Linear(i, 2 * o)}, r"decoder must map .*\(batch, 4\)"),
        ({"encoder": lambda i, o: nn.Linear(i + 1, 2 * o)}, "encoder"),
        ({"encoder": lambda i, o: nn.LSTM(i, 2 * o)}, "encoder"),
        ({"decoder": lambda i, o: None}, "decoder"),
    ],
    ids=["narrow", "wide", "wrong input", "returns a tuple", "no module"],
)
def test_network_of_the_wrong_shape_is_refused(X, params, message):
    vae = small(**params)
    with pytest.raises(ValueError, match=message):
        vae.fit(X)
    assert stays_unfitted(vae)


@pytest.mark.parametrize("sizes", [(0,), (8, -1), (2.5,), ("8",)])
def test_hidden_layer_sizes_must_be_positive_integers(X, sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        small(hidden_layer_sizes=sizes).fit(X)


@pytest.mark.parametrize("sizes", [[16], np.array([16]), (np.int64(16),)])
def test_hidden_layer_sizes_of_any_sequence(X, Z, sizes):
    np.testing.assert_array_equal(small(hidden_layer_sizes=sizes).fit(X).transform(X), Z)


@pytest.mark.parametrize("device", ["abacus", "cuda:99", "meta"])
def test_unknown_device_is_refused(X, device):
    vae = small(device=device)
    with pytest.raises(ValueError, match=f"device.*{device}"):
        vae.fit(X)
    assert stays_unfitted(vae)


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_device_by_name_and_by_object(X, device):
    vae = small(device=device).fit(X)
    assert next(vae.module_.parameters()).device.type == "cpu"
    everything_works(vae, X)


class Normed(torch.nn.Module):
    """A decoder whose norm has as many channels as the score takes draws at a time."""

    def __init__(self, n_components, n_outputs):
        super().__init__()
        layers = torch.nn.Linear(n_components, ROUND), torch.nn.BatchNorm1d(ROUND), torch.nn.Tanh()
        self.layers = torch.nn.Sequential(*layers, torch.nn.Linear(ROUND, n_outputs))

    def forward(self, z):
        assert z.ndim == 2
        return self.layers(z)


def test_a_decoder_with_a_norm_scores_by_its_channels():
    """Of draws of rows, three axes, BatchNorm1d would take the draws for channels."""
    X = load_iris().data
    vae = InfoVAETransformer(1, decoder=Normed, max_epochs=10, random_state=0).fit(X)
    np.testing.assert_allclose(vae.score_samples(X[:20]), quadrature_score(vae, X[:20]), atol=0.05)
    assert np.isfinite(vae.information(X).elbo)
    holes = X[:5].copy()
    holes[:, 1] = np.nan
    assert np.isfinite(vae.impute(holes)).all()
