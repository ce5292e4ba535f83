"""pythae's INFOVAE_MMD as a scikit-learn estimator: a peer in `bench_search.py`.

`pip install pythae==0.1.2` (not a dependency of this package). Its BaseTrainer writes the model to
a directory at the end, a temporary one here; progress bar and log are off. Its MMD samples the
prior, its likelihood has unit variance.
"""

import logging
import tempfile

import torch
from plain_skorch_vae import perceptron
from pythae.data.datasets import BaseDataset
from pythae.models import INFOVAE_MMD, INFOVAE_MMD_Config
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.base_trainer import base_trainer
from pythae.trainers.training_callbacks import TrainingCallback
from sklearn.base import BaseEstimator


class NoProgressBar(TrainingCallback):
    """pythae's progress bar has no switch."""


base_trainer.ProgressBarCallback = NoProgressBar


class Encoder(BaseEncoder):
    """Mean and log-variance from one perceptron."""

    def __init__(self, n_columns, hidden, n_components):
        super().__init__()
        self.latent_dim = n_components
        self.layers = perceptron(n_columns, *hidden, 2 * n_components)

    def forward(self, x):
        """As pythae wants it."""
        mean, log_variance = self.layers(x).chunk(2, -1)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """Its mirror image."""

    def __init__(self, n_columns, hidden, n_components):
        super().__init__()
        self.layers = perceptron(n_components, *reversed(hidden), n_columns)

    def forward(self, z):
        """As pythae wants it."""
        return ModelOutput(reconstruction=self.layers(z))


class PythaeVAE(BaseEstimator):
    """fit trains one model with pythae's BaseTrainer."""

    def __init__(self, alpha=0.0, lambd=1.0, n_epochs=30, batch_size=128, device="cpu"):
        self.alpha = alpha
        self.lambd = lambd
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.device = device

    def fit(self, X, y=None):
        """Train."""
        base_trainer.logger.setLevel(logging.ERROR)
        shape = X.shape[1], (128, 64), 8
        config = INFOVAE_MMD_Config(
            input_dim=(X.shape[1],),
            latent_dim=8,
            kernel_choice="rbf",
            alpha=self.alpha,
            lbd=self.lambd,
        )
        rows = torch.from_numpy(X)
        with tempfile.TemporaryDirectory() as directory:
            trainer = BaseTrainer(
                INFOVAE_MMD(config, Encoder(*shape), Decoder(*shape)),
                BaseDataset(rows, torch.ones(len(rows))),
                training_config=BaseTrainerConfig(
                    output_dir=directory,
                    num_epochs=self.n_epochs,
                    per_device_train_batch_size=self.batch_size,
                    learning_rate=2e-3,
                    no_cuda=self.device == "cpu",
                ),
            )
            trainer.train()
        self.model_ = trainer.model
        return self
