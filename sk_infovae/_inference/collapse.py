"""Tell a user that the code is empty, and which weight to move."""

import torch

from sk_infovae._inference.information import active_dimensions, kl_per_dimension
from sk_infovae._model.objective import coefficients
from sk_infovae._model.vae import VAE

IDLE = 0.01
"""Nats below which a dimension, or the whole code, counts as idle."""


def describe_collapse(
    module: VAE, x: torch.Tensor, mask: torch.Tensor | None, alpha: float, lambd: float
) -> str | None:
    """Say which dimensions are dead or that the decoder ignores z; None where all is well.

    A dimension is dead where q(z_l|x) is the prior's for every row: its KL is below 0.01 nats and
    its mean does not vary. The decoder ignores z where rows can exchange their codes at a cost of
    less than 0.01 nats.

    Parameters
    ----------
    module : VAE
    x, mask : Tensor of shape (n, n_columns)
        Some rows in the model's units.
    alpha, lambd : float
        The weights of the fit.
    """
    with torch.no_grad():
        posterior = module.encode(x, mask)
        dead = (kl_per_dimension(posterior) < IDLE) & ~active_dimensions(posterior)
        outputs = module.decoder(posterior.mean)
        own = module.likelihood.log_prob(x, outputs, mask)
        # Round a random circle: no row keeps its own code, and sorted rows don't stay together.
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).to(x.device)
        taken = torch.empty_like(order).scatter_(0, order, order.roll(1))
        exchanged = module.likelihood.log_prob(x, outputs[taken], mask)
    if dead.any():
        which = torch.nonzero(dead).ravel().tolist()
        fault = (
            f"{len(which)} of {len(dead)} latent dimensions are dead after fit, q(z|x) being the "
            f"prior there: {_shortened(which)}."
        )
        alive = len(dead) - len(which)
        fewer = f" Or lower n_components to {alive}." if alive else ""
        return f"{fault} {_mend(alpha, lambd)}{fewer}"
    if (own - exchanged).mean() < IDLE:
        fault = "The decoder ignores z: it does as well with the codes of other rows."
        return f"{fault} {_mend(alpha, lambd)} Or train longer."
    return None


def _mend(alpha: float, lambd: float) -> str:
    on_kl, on_divergence = coefficients(alpha, lambd)
    if on_kl > 0.1:
        return (
            f"Raise alpha towards 1 (alpha={alpha:g} puts the weight {on_kl:g} on KL(q(z|x)||p(z)),"
            " which pulls every row to the prior)."
        )
    return f"Lower lambd (lambd={lambd:g} puts the weight {on_divergence:g} on the divergence)."


def _shortened(which: list[int]) -> str:
    shown = ", ".join(map(str, which[:10]))
    return shown + (" ..." if len(which) > 10 else "")
