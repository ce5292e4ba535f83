"""InfoVAE for tables, as a scikit-learn transformer."""

from sk_infovae.estimator import InfoVAETransformer

__version__ = "0.1.0"

__all__ = ["InfoVAETransformer", "__version__"]
