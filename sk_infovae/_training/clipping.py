"""Gradients clipped for each model of a stack by its own norm."""

from typing import Any

import torch
from skorch.callbacks import GradientNormClipping


class ModelwiseClipping(GradientNormClipping):
    """What `skorch.callbacks.GradientNormClipping` does for one model, for each of a stack."""

    def on_grad_computed(self, _: Any, named_parameters: Any, **kwargs: Any) -> None:
        """Scale each model's gradients so that their common norm is at most the value."""
        if self.gradient_clip_value is None:
            return
        gradients = [p.grad for _, p in named_parameters if p.grad is not None]
        order = float(self.gradient_clip_norm_type)
        each = [torch.linalg.vector_norm(g.flatten(1), order, dim=1) for g in gradients]
        norm = torch.linalg.vector_norm(torch.stack(each), order, dim=0)
        # As torch's clip_grad_norm_ has it, 1e-6 included.
        share = (self.gradient_clip_value / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(share.view(-1, *[1] * (gradient.ndim - 1)))
