"""How many threads torch takes: for one thread of Python, and in a process that was forked."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import ThreadpoolController

_survivor: int | None = None
"""The thread that goes on in a process that was forked, until it takes one thread of torch's."""


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for this thread of Python, and as many as before afterwards.

    `torch.set_num_threads` would also say how many the threads get that begin meanwhile, and their
    fits would give other bits.
    """
    torch.get_num_threads()  # in a new thread torch sets it, once, at the first call
    with ThreadpoolController().limit(limits=1, user_api="openmp"):
        yield


def mind_a_fork() -> None:
    """Take one thread in a process that was forked: OpenMP's others are gone, and never answer.

    As torch's DataLoader does in its workers.
    """
    global _survivor
    if _survivor == threading.get_ident():
        torch.set_num_threads(1)
        _survivor = None


def _note_a_fork() -> None:
    global _survivor
    _survivor = threading.get_ident()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_note_a_fork)
