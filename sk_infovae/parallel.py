"""One model, trained by several processes together."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist

from sk_infovae._model.shares import CURRENT, Shares

__all__ = ["data_parallel"]


@contextmanager
def data_parallel(group: Any = None) -> Iterator[None]:
    """Fits inside are those of all processes of a group together.

    Each process calls the same ``fit`` with the same table, parameters and integer
    ``random_state``. Of each batch it encodes and decodes its share of the rows; D and the
    neighbour term are those of the whole batch, as are the gradients. All end with the same model,
    that of a fit by one process but for the rounding of sums. A search works as well.

    Parameters
    ----------
    group : ProcessGroup, default=None
        Of `torch.distributed`, which ``torchrun`` starts; the default one if None.

    Raises
    ------
    RuntimeError
        Where ``torch.distributed.init_process_group`` was not called.
    ValueError
        In a process that does not belong to the group; from ``fit``, where the processes were given
        different things, with ``memory``, and with a likelihood that is set by whole batches.

    Notes
    -----
    What stops a training must stop it everywhere: callbacks decide alike in all processes, and
    where one is lost, or interrupted, the others wait for it until torch's timeout
    (``init_process_group(timeout=...)``). Fits in other threads, and in joblib's workers, do not
    take part.

    On several GPUs each process names its own: ``device=f"cuda:{local_rank}"``, with the backend
    "nccl". Layers of your own that mix rows, as BatchNorm does, see their share only, and dropout
    draws the same in each. Each process reads the whole table.

    Examples
    --------
    In ``train.py``, started by ``torchrun --nproc-per-node 2 train.py``::

        import torch.distributed as dist
        from sk_infovae.parallel import data_parallel

        dist.init_process_group("gloo")
        with data_parallel():
            vae.fit(X)
        if dist.get_rank() == 0:
            vae.save("model.infovae")
        dist.destroy_process_group()
    """
    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            "data_parallel needs processes that know of each other: call "
            "torch.distributed.init_process_group first, in a script that torchrun starts."
        )
    if dist.get_rank(group) < 0:
        raise ValueError("This process does not belong to the group that it was given.")
    before = CURRENT.set(Shares(dist.get_rank(group), dist.get_world_size(group), group))
    try:
        yield
    finally:
        CURRENT.reset(before)
