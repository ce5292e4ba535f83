"""What depends on versions: private parts of other libraries, and scikit-learn's callbacks.

What can be imported is imported here and nowhere else; `PRIVATE_APIS` names the rest too. The tests
say which part is gone, and who needs it.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import sklearn
import skorch
import torch
from joblib import parallel
from sklearn import base
from sklearn.utils import _param_validation, metaestimators, validation

try:
    from sklearn import callback as sklearn_callback
except ImportError:  # scikit-learn < 1.9
    sklearn_callback: Any = None

PRIVATE_APIS = {
    "joblib.parallel:get_active_backend": "model_selection.candidates",
    "joblib:_parallel_backends": "model_selection.candidates",
    "sklearn.base:_fit_context": "estimator preprocessing",
    "sklearn.base:BaseEstimator._parameter_constraints": "estimator preprocessing "
    "model_selection.search",
    "sklearn.base:BaseEstimator._validate_params": "model_selection.search "
    "model_selection.candidates",
    "sklearn.base:BaseEstimator._get_doc_link": "_base.links",
    "sklearn.base:ClassNamePrefixFeaturesOutMixin._n_features_out": "estimator preprocessing",
    "sklearn.callback:CallbackSupportMixin._init_callback_context": "estimator",
    "sklearn.callback:CallbackSupportMixin._skl_callbacks": "model_selection.candidates "
    "_training.taking_up",
    "sklearn.model_selection:GridSearchCV._get_routed_params_for_fit": "model_selection.search",
    "sklearn.model_selection:GridSearchCV._run_search": "model_selection.search",
    "sklearn.model_selection:RandomizedSearchCV._run_search": "model_selection.search",
    "sklearn.utils._param_validation:Interval": "estimator datasets.mixed_table",
    "sklearn.utils._param_validation:StrOptions": "estimator preprocessing datasets.mixed_table",
    "sklearn.utils._param_validation:validate_params": "datasets.mixed_table",
    "sklearn.utils.metaestimators:_safe_split": "model_selection.candidates",
    "sklearn.utils.validation:_check_feature_names_in": "preprocessing",
    "sklearn.utils.validation:_num_samples": "callbacks",
    "skorch:NeuralNet._set_training": "_training.net _training.loop _training.state",
    "torch:_foreach_copy_": "_training.flat_adam",
    "torch:_fused_adam_": "_training.flat_adam",
    "torch.optim:Optimizer._optimizer_step_post_hooks": "_training.flat_adam",
    "torch.optim:Optimizer._optimizer_step_pre_hooks": "_training.flat_adam",
    "torch:default_generator": "_base.seeds",
    "torch:Tensor._post_accumulate_grad_hooks": "_training.written_out",
    "torch.nn:Module._parameters": "_model.networks",
    "torch._dynamo.eval_frame:OptimizedModule._orig_mod": "_training.net",
}
"""What no documentation promises, ``module:name``, and our modules that need it.

A name of a class may also be one that its methods set or look for.
"""


class NoContext:
    """A callback context that does nothing."""

    def subcontext(self, **_: Any) -> "NoContext":
        """Return itself."""
        return self

    def call_on_fit_task_begin(self, **_: Any) -> "NoContext":
        """Return itself."""
        return self

    def call_on_fit_task_end(self, **_: Any) -> bool:
        """Never stop."""
        return False


class NoCallbacks:
    """Stands in where scikit-learn has no callbacks."""

    def _init_callback_context(self, **_: Any) -> NoContext:
        return NoContext()


def unchanged(method: Any) -> Any:
    """Return the method as it is."""
    return method


if TYPE_CHECKING:  # scikit-learn has no types; Any would spread over all that is built on it
    Method = TypeVar("Method", bound=Callable[..., Any])

    class CallbackSupportMixin(NoCallbacks):
        """What scikit-learn 1.9 has."""

        def set_callbacks(self, *callbacks: Any) -> Self:
            """Set the callbacks of the fits to come."""
            return self

    def with_callbacks(method: Method) -> Method:
        """Run a method as a fit that callbacks watch."""
        return method

    def _fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[Method], Method]:
        return unchanged

else:
    CallbackSupportMixin = getattr(sklearn_callback, "CallbackSupportMixin", NoCallbacks)
    with_callbacks = getattr(sklearn_callback, "with_callbacks", unchanged)
    _fit_context = base._fit_context

ScoringMonitor: Any = getattr(sklearn_callback, "ScoringMonitor", None)

Interval: Any = _param_validation.Interval
StrOptions: Any = _param_validation.StrOptions
validate_params: Any = _param_validation.validate_params
_check_feature_names_in: Any = validation._check_feature_names_in
_num_samples: Any = validation._num_samples
_safe_split: Any = metaestimators._safe_split
get_active_backend: Any = parallel.get_active_backend
default_generator: torch.Generator = torch.default_generator


def library_versions() -> dict[str, str]:
    """Versions of what decides how a model is trained and read."""
    return {
        "sk_infovae": sys.modules["sk_infovae"].__version__,  # type: ignore[attr-defined]
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "skorch": skorch.__version__,
        "numpy": np.__version__,
    }
