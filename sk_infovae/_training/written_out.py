"""The training step of common models with every gradient written out, without autograd.

Of a small step autograd's bookkeeping takes more time than the matrix products: its engine, and
the tensors and views that each operation makes anew. Here each operation writes where the last step
wrote.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sk_infovae._model.cells import Cells
from sk_infovae._model.networks import Linear, SkipPerceptron
from sk_infovae._model.objective import InfoVAELoss, Terms, coefficients
from sk_infovae._model.vae import VAE
from sk_infovae._training.written_layers import (
    ACTIVATIONS,
    Activation,
    Affine,
    Perceptron,
)
from sk_infovae._training.written_terms import (
    AnyDivergence,
    Draw,
    GaussianMMD,
    GaussianNoise,
    NeighborInformation,
)
from sk_infovae.divergences import MMD, Divergence
from sk_infovae.divergences.kernels import GaussianKernel
from sk_infovae.likelihoods import Gaussian

MOST_SIZES = 4
"""Batch sizes of which the memory is kept; an epoch has two."""


class Chain(NamedTuple):
    """Linear layers in a row, the activations between them, and a linear map beside them."""

    linears: list[nn.Linear]
    activations: list[type[Activation]]
    skip: nn.Linear | None = None


class Parts(NamedTuple):
    """What a model that is covered consists of."""

    encoder: Chain
    decoder: Chain
    noise: Gaussian
    rho: Tensor

    @property
    def linears(self) -> list[nn.Linear]:
        """Every linear layer."""
        skips = filter(None, [self.encoder.skip, self.decoder.skip])
        return [*self.encoder.linears, *self.decoder.linears, *skips]

    @property
    def learned(self) -> list[Tensor]:
        """Every parameter that gets a gradient."""
        frozen = set(self.frozen)
        own = [p for linear in self.linears for p in linear.parameters() if p not in frozen]
        return [*own, self.rho]

    @property
    def frozen(self) -> list[Tensor]:
        """Linear maps beside a perceptron that are measured, not learned."""
        skips = filter(None, [self.encoder.skip, self.decoder.skip])
        return [one.weight for one in skips if not one.weight.requires_grad]


class Pass:
    """Everything that a step on batches of one size uses.

    Parameters
    ----------
    parts : Parts
    affines : mapping of Linear to Affine
        The linear layers' parameters.
    rho : pair of Tensor
        The noise's parameter and the memory of its gradient.
    criterion : InfoVAELoss
    n_given : int
        Batch size, neighbours included.
    """

    def __init__(
        self,
        parts: Parts,
        affines: Mapping[nn.Linear, Affine],
        rho: tuple[Tensor, Tensor],
        criterion: InfoVAELoss,
        n_given: int,
    ):
        n, divergence = criterion.own_rows(n_given), criterion.divergence
        self.encoder, self.decoder = (
            Perceptron(
                [affines[one] for one in chain.linears],
                chain.activations,
                rows,
                None if chain.skip is None else affines[chain.skip],
            )
            for chain, rows in ((parts.encoder, n_given), (parts.decoder, n))
        )
        codes = self.encoder.last.h
        self.draw = Draw(codes[..., :n, :])
        self.noise = GaussianNoise(*rho, self.decoder.last, parts.noise.floor)
        bandwidth = gaussian_bandwidth(divergence, self.draw.d)
        self.divergence = (
            AnyDivergence(divergence, self.draw)
            if bandwidth is None
            else GaussianMMD(self.draw.z, self.draw.gradient, bandwidth)
        )
        self.neighbors = None
        if criterion.log_scale is not None:
            near = codes[..., n:, :]
            self.neighbors = NeighborInformation(self.draw.mean, near, criterion.log_scale)

    def forward(
        self,
        inputs: Tensor,
        x: Tensor,
        mask: Tensor | None,
        noise: Tensor,
        n_rows: int | None,
        on_divergence: Tensor,
        on_neighbors: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Mean log density, KL, D and I; the gradients of all but KL are then there."""
        self.encoder.forward(inputs)
        z, kl = self.draw.forward(self.own(noise))
        shared = None if self.neighbors is None else self.neighbors.evaluate(on_neighbors)
        value = self.divergence.evaluate(noise, n_rows, on_divergence)
        last = self.decoder.last
        assert last.affine.bias is not None
        self.decoder.forward(z, torch.sub(last.affine.bias, x, out=last.h))
        return self.noise.evaluate(mask), kl, value, shared

    def own(self, noise: Tensor) -> Tensor:
        """The noise of z."""
        return noise if noise.shape[-2] == self.draw.n else noise[..., : self.draw.n, :]

    def backward(self, noise: Tensor, on_kl: Tensor) -> None:
        """Every other gradient."""
        self.decoder.backward(self.draw.gradient)
        self.draw.backward(self.own(noise), on_kl)
        if isinstance(self.divergence, AnyDivergence):
            self.divergence.add_to_posterior()
        self.draw.hold()
        if self.neighbors is not None:
            self.neighbors.add()
        self.encoder.backward()


class WrittenOut:
    """The objective and its gradients on a batch, for models that `of` accepts.

    Parameters
    ----------
    module : VAE
    criterion : InfoVAELoss
    parts : Parts
        Of the module.
    tensors : mapping of Tensor to Tensor
        By parameter of the module: what stands for it, ``(n_members, ...)`` in a stack.
    gradients : mapping of Tensor to Tensor
        By what stands for a parameter: memory for its gradient.
    """

    def __init__(
        self,
        module: VAE,
        criterion: InfoVAELoss,
        parts: Parts,
        tensors: Mapping[Tensor, Tensor],
        gradients: Mapping[Tensor, Tensor],
    ):
        self.module, self.criterion, self.parts = module, criterion, parts
        self.tensors = {p: tensors[p] for p in [*parts.learned, *parts.frozen]}
        learned = [self.tensors[p] for p in parts.learned]
        self.places = [(tensor, gradients[tensor]) for tensor in learned]
        self._bind()

    @classmethod
    def of(
        cls,
        module: VAE,
        criterion: InfoVAELoss,
        gradients: Mapping[Tensor, Tensor] | None = None,
        parameters: Mapping[str, Tensor] | None = None,
    ) -> "WrittenOut | None":
        """The written out step of a model; None for a model that needs autograd.

        Covered are chains of linear layers and `ACTIVATIONS`, also with `SkipPerceptron`, Gaussian
        columns with a learned or calibrated scale, and divergences that learn nothing.

        Parameters
        ----------
        module : VAE
        criterion : InfoVAELoss
        gradients : mapping of Tensor to Tensor, default=None
            Memory for each parameter's gradient, `FlatAdam.gradients` say; None makes it.
        parameters : mapping of str to Tensor, default=None
            Of a stack: its parameters ``(n_members, ...)`` by the module's names.
        """
        parts = covered_parts(module, criterion)
        if parts is None:
            return None
        given = parameters or {}
        tensors: dict[Tensor, Tensor] = {
            p: given.get(name, p) for name, p in module.named_parameters()
        }
        if gradients is None:
            gradients = {p: torch.empty_like(p) for p in tensors.values()}
        return cls(module, criterion, parts, tensors, gradients)

    def _bind(self) -> None:
        """Take the parameters' memory as it is now, and forget what was bound to another."""
        self.starts = [tensor.data_ptr() for tensor in self.tensors.values()]
        self.passes: dict[int, Pass] = {}
        rho = self.tensors[self.parts.rho]
        self.weights = [rho.new_empty(rho.shape[:-1], requires_grad=False) for _ in range(3)]
        self.on_kl, self.on_divergence, self.on_neighbors = (
            weight[..., None, None] for weight in self.weights
        )

    def _pass(self, n: int) -> Pass:
        """What serves batches of n rows."""
        if n not in self.passes:
            if len(self.passes) == MOST_SIZES:
                self.passes.clear()
            places = dict(self.places)
            pairs = {p: (t.detach(), places.get(t)) for p, t in self.tensors.items()}
            affines = {one: affine(one, pairs) for one in self.parts.linears}
            rho = self.tensors[self.parts.rho]
            noise = rho.detach().unsqueeze(-2), places[rho].unsqueeze(-2)
            self.passes[n] = Pass(self.parts, affines, noise, self.criterion, n)
        return self.passes[n]

    @torch.no_grad()
    def step(
        self,
        x: Tensor,
        mask: Tensor | None,
        noise: Tensor,
        n_rows: int | None = None,
    ) -> Terms:
        """The terms, as `InfoVAELoss.forward` gives them; every parameter then has its gradient.

        A gradient is that of the loss; in a stack that of the sum of the members' losses, each
        with its own weights ``(n_members,)``.
        """
        if [tensor.data_ptr() for tensor in self.tensors.values()] != self.starts:
            self._bind()
        now = self._pass(x.shape[-2])
        criterion = self.criterion
        weights = coefficients(criterion.alpha, criterion.lambd)
        self._weigh((*weights, criterion.neighbor_weight))
        inputs = self.module.inputs(x, mask)
        if now.neighbors is not None:
            x, mask = Cells(x, mask).at(slice(now.draw.n))
        density, kl, value, shared = now.forward(
            inputs, x, mask, noise, n_rows, self.on_divergence, self.on_neighbors
        )
        now.backward(noise, self.on_kl)
        for tensor, gradient in self.places:
            tensor.grad = gradient
        on_kl, on_divergence, on_neighbors = self.weights
        loss = torch.mul(on_kl, kl).addcmul_(on_divergence, value).sub_(density)
        if shared is not None:
            loss.addcmul_(on_neighbors, shared, value=-1)
        return Terms(loss, density, kl, value, shared)

    def _weigh(self, weights: tuple[Any, ...]) -> None:
        for place, weight in zip(self.weights, weights, strict=True):
            if isinstance(weight, Tensor):
                place.copy_(weight)
            else:
                place.fill_(weight)


def affine(linear: nn.Linear, pairs: Mapping[Tensor, tuple[Tensor, Any]]) -> Affine:
    """A linear layer's parameters and their gradients' memory, ready for products."""
    weight, weight_gradient = pairs[linear.weight]
    if linear.bias is None:
        return Affine(weight, None, weight_gradient, None)
    bias, bias_gradient = (one.unsqueeze(-2) for one in pairs[linear.bias])
    return Affine(weight, bias, weight_gradient, bias_gradient)


def covered_parts(module: VAE, criterion: InfoVAELoss) -> Parts | None:
    """What the model consists of, where all of it is covered."""
    chains = chain_of(module.encoder), chain_of(module.decoder)
    likelihoods = module.likelihood._likelihoods
    noise = likelihoods[0]
    if chains[0] is None or chains[1] is None or len(criterion.critic) or len(likelihoods) > 1:
        return None
    if type(noise) is not Gaussian or noise.scale not in ("calibrated", "learned"):
        return None
    rho = module.likelihood.get_parameter("parameter_dicts.0.log_variance")
    parts = Parts(chains[0], chains[1], noise, rho)
    return parts if is_plain(module, parts.learned) else None


def chain_of(network: nn.Module) -> Chain | None:
    """Its layers, where they are linear ones with activations as torch makes them between."""
    if type(network) is SkipPerceptron:
        body = chain_of(network.body)
        return body and Chain(body.linears, body.activations, network.skip)
    if type(network) not in (Linear, nn.Linear, nn.Sequential):
        return None
    layers = list(network) if isinstance(network, nn.Sequential) else [network]
    linears = [
        one
        for one in layers[::2]
        if type(one) in (Linear, nn.Linear) and isinstance(one, nn.Linear) and one.bias is not None
    ]
    between = layers[1::2]
    kinds = [type(one) for one in between]
    if len(linears) != len(layers[::2]) or len(linears) != len(between) + 1:
        return None
    if not set(kinds) <= set(ACTIVATIONS):
        return None
    if any(
        repr(one) != repr(kind())  # type: ignore[call-arg]
        for one, kind in zip(between, kinds, strict=True)
    ):
        return None
    return Chain(linears, [ACTIVATIONS[kind] for kind in kinds])


def is_plain(module: VAE, learned: Sequence[Tensor]) -> bool:
    """Whether these are all the parameters that are learned, each used once, and no hook waits."""
    wanted = [p for p in module.parameters() if p.requires_grad]
    hooks = [
        hook
        for one in module.modules()
        for name in (
            "_forward_hooks",
            "_forward_pre_hooks",
            "_backward_hooks",
            "_backward_pre_hooks",
        )
        for hook in getattr(one, name)
    ]
    hooked = any(p._backward_hooks or p._post_accumulate_grad_hooks for p in wanted)
    return len(learned) == len(wanted) and set(learned) == set(wanted) and not hooks and not hooked


def gaussian_bandwidth(divergence: Divergence, d: int) -> float | None:
    """s^2 of an `MMD` that has one Gaussian kernel on draws; None for others."""
    if type(divergence) is not MMD or not isinstance(divergence, MMD):
        return None
    kernels = divergence._kernels(d)
    if len(kernels) != 1 or type(kernels[0]) is not GaussianKernel:
        return None
    bandwidth = kernels[0].bandwidth
    if isinstance(bandwidth, Tensor) or divergence.estimator != "samples":
        return None
    return bandwidth
