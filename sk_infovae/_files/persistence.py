"""What an estimator becomes outside the process: a file of values, or a pickle."""

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any, BinaryIO, Self

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sk_infovae._files.model import load_model, pack_fit, save_model, unpack_fit
from sk_infovae._files.onnx_ import export_onnx
from sk_infovae._training.fitting import FITTED


class Persistent(BaseEstimator):
    """`save`, `load` and pickling of `InfoVAETransformer`."""

    def save(self, file: str | PathLike[str] | BinaryIO) -> None:
        """Write the estimator to one file, which holds values alone and can't run code.

        Arrays are stored as safetensors, parameters, columns and shapes as JSON in its header.
        A path is replaced in one step: a crash leaves the old file whole. Callbacks of
        scikit-learn are not kept.

        Parameters
        ----------
        file : str, Path or binary file object
            Where to write.

        Raises
        ------
        ModelFileError
            For parameters that no file can hold: functions that import does not find, instances
            with more state than their ``get_params`` tells. Nothing is written then.
        """
        save_model(self, file)

    @classmethod
    def load(
        cls,
        file: str | PathLike[str] | BinaryIO,
        trusted: Iterable[Any] | Mapping[str, Any] = (),
    ) -> Self:
        """Read what `save` wrote.

        Nothing is run because a file says so, nothing is imported but pandas, polars and pyarrow
        where columns are theirs, and no memory is taken for a number before that was compared with
        the arrays that are there.

        Parameters
        ----------
        file : str, Path or binary file object
            From where to read.
        trusted : iterable of classes and functions, or dict
            Networks, likelihoods, divergences and callbacks of your own that the file may name. A
            dict gives them by the file's names, "module:name", where they have moved since.

        Returns
        -------
        vae : InfoVAETransformer
            On the device of its fit, on the CPU where that is not there.

        Raises
        ------
        ModelFileError
            For another file, a damaged one, one of a later protocol, and one that names what is not
            in ``trusted``.
        """
        return load_model(cls, file, trusted)

    def export_onnx(self, file: str | PathLike[str] | BinaryIO, method: str = "transform") -> None:
        """Write a graph of ONNX, which runs without this package.

        Of an array the graph takes one tensor ``X``, of a DataFrame one of shape (n_rows, 1) for
        each column, by its name: numbers as double with NaN for missing ones, booleans as bool,
        strings as string. A string that fit did not see counts as missing, whatever
        ``handle_unknown`` says. It gives ``code``, or ``elbo`` of shape (n_rows, 1); the way back
        takes ``code`` and gives ``X``, or the columns. Columns of free text stand on neither side.
        A step of a Pipeline: see `sk_infovae.onnx.register_converter`.

        Parameters
        ----------
        file : str, Path or binary file object
            Where to write.
        method : {"transform", "inverse_transform", "elbo"}, default="transform"
            What the graph does: the embedding, the way back, or E log p(x|z) - KL(q(z|x)||p(z)) of
            each row by 64 fixed draws of z, in nats and in the units of X, a lower bound of
            `score_samples`.

        Raises
        ------
        ImportError
            Where onnx or onnxscript are missing.
        ValueError
            For columns that ONNX can't say: times, integers beyond 2^53.
        """
        check_is_fitted(self)
        export_onnx(self, file, method)

    def __getstate__(self) -> dict[str, Any]:
        """Parameters as they are; what fit left as the bytes of a file."""
        state = dict(super().__getstate__())
        if "net_" not in state:
            return state
        return {k: v for k, v in state.items() if k not in FITTED} | {"_fit": pack_fit(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        packed = state.get("_fit")
        super().__setstate__({key: value for key, value in state.items() if key != "_fit"})
        if packed is not None:
            self.__dict__.update(unpack_fit(packed))
