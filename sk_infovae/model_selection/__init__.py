"""Searches over alpha, lambd and n_components that train their candidates together."""

from sk_infovae.model_selection.search import InfoVAEGridSearchCV, InfoVAERandomizedSearchCV

__all__ = ["InfoVAEGridSearchCV", "InfoVAERandomizedSearchCV"]
