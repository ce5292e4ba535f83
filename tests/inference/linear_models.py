"""A linear model that is trained for a moment."""

from sk_infovae import InfoVAETransformer


def linear(**params):
    """A linear model, to be set or trained for a moment."""
    defaults = {
        "hidden_layer_sizes": (),
        "max_epochs": 2,
        "n_importance_samples": 64,
        "random_state": 0,
    }
    return InfoVAETransformer(2, **(defaults | params))
