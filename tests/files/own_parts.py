"""Parts of a model that are the user's own, where import finds them."""

from torch import nn

from sk_infovae.divergences import MMD
from sk_infovae.likelihoods import Gaussian


def encoder(n_inputs, n_components):
    return nn.Sequential(nn.Linear(n_inputs, 7), nn.Tanh(), nn.Linear(7, 2 * n_components))


def decoder(n_components, n_outputs, width=5):
    return nn.Sequential(nn.Linear(n_components, width), nn.ReLU(), nn.Linear(width, n_outputs))


class Squash(nn.Module):
    def forward(self, x):
        return x / (1 + x.abs())


class OwnGaussian(Gaussian):
    pass


class OwnMMD(MMD):
    pass


class WithMemory(MMD):
    """What it saw is no parameter."""

    def __init__(self, kernel="imq"):
        super().__init__(kernel)
        self.seen = [1, 2, 3]

    _parameter_names = MMD._parameter_names
