"""Seeds that leave every global generator alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from sk_infovae._base.compat import default_generator

MAX_SEED = 2**31 - 1


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """A seed from ``random_state``.

    None draws on the system's entropy and leaves numpy's global state alone; a RandomState
    instance moves on by one draw, as everywhere in scikit-learn.
    """
    if random_state is None:
        random_state = np.random.RandomState(np.random.SeedSequence().generate_state(4))
    elif not isinstance(random_state, np.random.RandomState):
        random_state = np.random.RandomState(random_state)
    return int(random_state.randint(MAX_SEED))


def split_seed(seed: int, *use: int) -> int:
    """A seed for one use out of many, independent of those for the others."""
    return int(np.random.SeedSequence([seed, *use]).generate_state(1)[0] % MAX_SEED)


ONE_AT_A_TIME = threading.RLock()


@contextmanager
def private_rng(seed: int, device: str) -> Iterator[None]:
    """Seed torch's global generators inside, and put them back as they were.

    Initialisation of the networks and dropout draw from them. Threads take turns, or each would
    draw from the other's seed.
    """
    devices = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with ONE_AT_A_TIME, torch.random.fork_rng(devices=devices):
        # torch.manual_seed would walk the stack for each kind of device that is not there.
        default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(devices[0]):
                torch.cuda.manual_seed(seed)
        yield
