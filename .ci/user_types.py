"""What a user's type checker makes of the package; `.ci/typed.py` has pyright look at it.

Each line is as a user would write it. A comment that pyright should ignore an error is an error
itself where there is none.
"""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

from sk_infovae import InfoVAETransformer
from sk_infovae.divergences import MMD, Divergence
from sk_infovae.inspection import Information
from sk_infovae.likelihoods import Gaussian, Likelihood
from sk_infovae.metrics import elbo
from sk_infovae.model_selection import InfoVAEGridSearchCV
from sk_infovae.preprocessing import TabularPreprocessor

X: NDArray[np.float64] = np.zeros((9, 3))

vae = InfoVAETransformer(2, alpha=0.5, divergence=MMD(bandwidth=2.0), likelihood=Gaussian())
assert_type(vae.fit(X), InfoVAETransformer)
assert_type(vae.partial_fit(X), InfoVAETransformer)
assert_type(vae.transform(X), NDArray[np.float32])
assert_type(vae.posterior(X), tuple[NDArray[np.float32], NDArray[np.float32]])
assert_type(vae.score(X), float)
assert_type(vae.information(X), Information)
assert_type(InfoVAETransformer.load(Path("model"), trusted=[Gaussian]), InfoVAETransformer)
vae.save("model")
assert_type(elbo(vae, X), float)
assert_type(TabularPreprocessor().fit(X), TabularPreprocessor)
kernel: Divergence = MMD()
noise: Likelihood = Gaussian()
search: Any = InfoVAEGridSearchCV(vae, {"alpha": [0.0, 0.5]}, memory="stacks").fit(X)

InfoVAETransformer("2")  # pyright: ignore[reportArgumentType]
InfoVAETransformer(divergence=3)  # pyright: ignore[reportArgumentType]
InfoVAETransformer(2, 0.5)  # pyright: ignore[reportCallIssue]
InfoVAETransformer(latent_dim=2)  # pyright: ignore[reportCallIssue]
vae.sample("many")  # pyright: ignore[reportArgumentType]
vae.transfrom(X)  # pyright: ignore[reportAttributeAccessIssue]
