"""Seeds that leave every global generator alone."""

import numpy as np

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
