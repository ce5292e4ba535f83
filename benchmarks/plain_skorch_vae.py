"""The InfoVAE that a user would write with skorch: the peer in `bench_search.py`.

skorch's own data set, loader, loop and history; layers, batch, epochs and optimizer as in the
benchmark; a gaussian likelihood with learned scales; the MMD between codes and prior samples with
the RBF kernel, as in the authors' code and in pythae.
"""

import itertools

import torch
from skorch import NeuralNet
from torch import nn


def perceptron(*widths):
    """Linear layers of these widths with SiLU between them."""
    layers = []
    for n_inputs, n_outputs in itertools.pairwise(widths):
        layers += [nn.Linear(n_inputs, n_outputs), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


class PlainVAE(nn.Module):
    """Encoder, decoder and one noise scale for each column."""

    def __init__(self, n_columns=64, hidden=(128, 64), n_components=8):
        super().__init__()
        self.encoder = perceptron(n_columns, *hidden, 2 * n_components)
        self.decoder = perceptron(n_components, *reversed(hidden), n_columns)
        self.log_scale = nn.Parameter(torch.zeros(n_columns))

    def forward(self, x):
        """Reconstruction and its scale, codes, posterior."""
        mean, log_variance = self.encoder(x).chunk(2, -1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        return self.decoder(z), self.log_scale, z, mean, log_variance


def rbf(a, b):
    """Kernel matrix of the rows of a and b."""
    return torch.exp(-torch.cdist(a, b).square() / (2 * a.shape[1]))


class InfoVAELoss(nn.Module):
    """Negative InfoVAE objective with sampled MMD."""

    def __init__(self, alpha=0.0, lambd=1.0):
        super().__init__()
        self.alpha = alpha
        self.lambd = lambd

    def forward(self, outputs, x):
        """Mean over the batch."""
        decoded, log_scale, z, mean, log_variance = outputs
        noise = torch.distributions.Normal(decoded, log_scale.exp(), validate_args=False)
        reconstruction = noise.log_prob(x).sum(1).mean()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        prior = torch.randn_like(z)
        mmd = rbf(z, z).mean() + rbf(prior, prior).mean() - 2 * rbf(z, prior).mean()
        return -reconstruction + (1 - self.alpha) * kl + (self.alpha + self.lambd - 1) * mmd


class PlainSkorchVAE(NeuralNet):
    """`skorch.NeuralNet` whose target is its input."""

    def get_loss(self, y_pred, y_true, X=None, **kwargs):
        """Compare with the batch itself."""
        return self.criterion_(y_pred, X.to(self.device))


def plain_skorch_vae(n_epochs, batch_size, device):
    """The estimator; alpha and lambd are ``criterion__alpha`` and ``criterion__lambd``."""
    return PlainSkorchVAE(
        PlainVAE,
        criterion=InfoVAELoss,
        criterion__alpha=0.0,
        criterion__lambd=1.0,
        optimizer=torch.optim.Adam,
        lr=2e-3,
        max_epochs=n_epochs,
        batch_size=batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        device=device,
        verbose=0,
    )
