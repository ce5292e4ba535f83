"""Lines that show how far a fit or a search has come (``verbose``)."""

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

from skorch.callbacks import Callback
from tqdm import tqdm

LOG_SECONDS = 10.0
"""In a log, the time between two lines at least."""


def is_log() -> bool:
    """Whether standard error only grows, as a file does: no terminal and no notebook."""
    is_terminal = getattr(sys.stderr, "isatty", bool)  # None where there is no console
    return not is_terminal() and "ipykernel" not in sys.modules


class LogWriter:
    """Writes line below line to a file."""

    def __init__(self, file: Any):
        self.file, self.end = file, "\n"

    def __call__(self, line: str) -> None:
        self.file.write(line + self.end)
        self.file.flush()


class TextLine(tqdm):
    """tqdm's line, written anew in its place; in a log, a line of its own now and then."""

    monitor_interval = 0  # no thread of tqdm's that would wake a line which is always awake

    def __init__(self, **settings: Any):
        if is_log():
            settings["mininterval"] = LOG_SECONDS
        super().__init__(miniters=1, **settings)

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        """What writes the line, see tqdm."""
        return LogWriter(file) if is_log() else tqdm.status_printer(file)

    def close(self) -> None:
        """Write it for the last time; tqdm ends that line itself."""
        writer = getattr(self, "sp", None)
        if isinstance(writer, LogWriter):
            writer.end = ""
        super().close()


class ProgressLine(Callback):
    """One line that shows the epoch and the terms of the objective (verbose=1)."""

    line_: Any = None

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Open the line, which is a notebook's own in one."""
        from tqdm.auto import tqdm as fitting

        self.line_ = (TextLine if is_log() else fitting)(
            total=net.max_epochs,
            initial=len(net.history),
            unit="epoch",
            desc="InfoVAE",
            dynamic_ncols=True,
            leave=True,
        )

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Refresh the line."""
        epoch = net.history[-1]
        parts = [
            f"loss {epoch['train_loss']:.2f}",
            f"reconstruction {epoch['train_reconstruction']:.2f}",
            f"kl {epoch['train_kl']:.2f}",
            f"D {epoch['train_divergence']:.4f}",
        ]
        if "valid_loss" in epoch:
            parts.append(f"valid loss {epoch['valid_loss']:.2f}")
        self.line_.set_postfix_str(", ".join(parts), refresh=False)
        self.line_.update()

    def close(self) -> None:
        """End the line, however training ended."""
        if self.line_ is not None:
            self.line_.close()


class SearchLine(TextLine):
    """One line over the stacks of a search: epochs of all their models, and the time left.

    An epoch of one model may cost far more than one of another. Those left cost, at most,

        time left = elapsed * (cost of the epochs left) / (cost of the epochs done),

    and a model that stops early takes the epochs that it had left off the total.

    Parameters
    ----------
    epochs : sequence of int
        Of each stack: epochs of all its models together.
    costs : sequence of float
        Of each stack: what one of them costs, in any unit.
    disable : bool
        Whether to show nothing.
    """

    def __init__(self, epochs: Sequence[int], costs: Sequence[float], disable: bool):
        self.left, self.costs, self.spent = list(epochs), list(costs), 0.0
        super().__init__(
            total=sum(epochs),
            unit="model-epoch",
            desc="InfoVAE search",
            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{time_left}, {rate_fmt}]",
            dynamic_ncols=True,
            disable=disable,
        )

    @property
    def format_dict(self) -> dict[str, Any]:
        """What ``bar_format`` may name: tqdm's own, and the time left."""
        values = super().format_dict
        to_spend = sum(cost * left for cost, left in zip(self.costs, self.left, strict=True))
        ratio = to_spend / self.spent if self.spent else math.nan
        seconds = values["elapsed"] * ratio
        return {**values, "time_left": tqdm.format_interval(seconds) if self.spent else "?"}

    def advance(self, stack: int, done: int, left: int) -> None:
        """A stack has trained for so many epochs of a model more, and has at most so many left."""
        self.left[stack] = left
        self.spent += done * self.costs[stack]
        self.total = self.n + done + sum(self.left)
        self.update(done)
