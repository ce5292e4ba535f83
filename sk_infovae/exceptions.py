"""Errors that say what went wrong, with which value, and how to mend it."""


class SchemaError(ValueError):
    """A column of X is of a kind that the model can't read."""


class TrainingDivergedError(ArithmeticError):
    """The training loss became NaN, infinite or far larger than at the start."""


class PosteriorCollapseWarning(UserWarning):
    """A fit left latent dimensions that carry nothing, or a decoder that ignores the code."""


class ModelFileError(ValueError):
    """A file that is no model of ours, or damaged; or a model that no file can hold."""
