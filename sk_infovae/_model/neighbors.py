r"""How much the code of a row says about the code of its neighbour.

Of n rows and one neighbour of each, with posterior means :math:`m_i` and :math:`m'_i`,

.. math::

    I = \log n + \frac1n \sum_i \log \frac{w_{ii}}{\sum_j w_{ij}},
    \qquad w_{ij} = \frac{1}{1 + s^2 |m_i - m'_j|^2},

is InfoNCE (van den Oord, Li, Vinyals, arXiv 1807.03748): in expectation a lower bound of the mutual
information between the two codes, for whatever s, and at most log n. The kernel is t-SNE's, as in
t-SimCNE (Boehm, Berens, Kobak, ICLR 2023).
"""

import math

from torch import Tensor


def neighbor_information(mean: Tensor, near: Tensor, log_scale: Tensor) -> Tensor:
    """The bound, nats.

    Parameters
    ----------
    mean, near : Tensor of shape (..., n, d)
        Posterior means of rows, and of a neighbour of each.
    log_scale : Tensor of shape (...)
        log s.

    Returns
    -------
    information : Tensor of shape (...)
    """
    scale = log_scale.exp()[..., None, None]
    # Differences of large numbers keep few digits: rows and neighbours are centred first.
    centre = near.mean(-2, keepdim=True)
    a, b = (mean - centre) * scale, (near - centre) * scale
    squares = a.square().sum(-1)[..., :, None] + b.square().sum(-1)[..., None, :]
    similar = (1 + (squares - 2 * a @ b.mT).clamp(min=0)).reciprocal()
    own = similar.diagonal(dim1=-2, dim2=-1)
    return math.log(mean.shape[-2]) + (own / similar.sum(-1)).log().mean(-1)
