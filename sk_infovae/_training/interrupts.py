"""Tell a Ctrl-C from a KeyboardInterrupt that a callback raises to stop training."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class CtrlC:
    """Whether the user pressed Ctrl-C."""

    pressed = False


@contextmanager
def watch_ctrl_c() -> Iterator[CtrlC]:
    """Note a SIGINT before it becomes a KeyboardInterrupt.

    Callbacks of skorch, its EarlyStopping among them, stop training by raising
    KeyboardInterrupt: only the signal tells the two apart. Python delivers signals to the main
    thread only; another handler than Python's own is left alone.
    """
    watch = CtrlC()
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )

    def handler(signum: int, frame: FrameType | None) -> None:
        watch.pressed = True
        signal.default_int_handler(signum, frame)

    if ours:
        signal.signal(signal.SIGINT, handler)
    try:
        yield watch
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
