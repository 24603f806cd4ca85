"""LeapVerify: wraps an optimizer, predicts the weights some steps ahead, and raises the learning rate or leaps there
only when held-out loss verifies that it pays. Otherwise training continues bit for bit as before.

    evaluator = leapverify.BatchEvaluator.from_loader(model, loss_fn, gate_loader, sequences_per_step=32)
    optimizer = leapverify.LeapVerify(torch.optim.AdamW(model.parameters(), lr=3e-4), evaluator, planned_steps=10_000)
    ...  # the training loop as it was

See help(leapverify.LeapVerify).
"""

import re as _re

import torch as _torch

from ._build import CUDA, TORCH_VERSION, VERSION


def _public(version: str) -> str:
    return _re.split(r"[+]", version)[0]


if _public(_torch.__version__) != _public(TORCH_VERSION):
    raise ImportError(
        f"leapverify was built for torch {_public(TORCH_VERSION)}, but torch {_torch.__version__} is installed; install "
        f"torch {_public(TORCH_VERSION)}, or build leapverify again (pip install --no-build-isolation .)"
    )

from ._core import CollectiveError, ContractError, Error, FileError, FormatError, InvalidOption  # noqa: E402
from .evaluators import BatchEvaluator, Evaluator  # noqa: E402
from .optimizer import LeapVerify  # noqa: E402
from .training import StepRunner, TrainingBatch  # noqa: E402

__version__ = VERSION
#: Whether this build has the CUDA kernels; without them, models must be on the CPU.
cuda: bool = CUDA

__all__ = [
    "BatchEvaluator",
    "CollectiveError",
    "ContractError",
    "Error",
    "Evaluator",
    "FileError",
    "FormatError",
    "InvalidOption",
    "LeapVerify",
    "StepRunner",
    "TrainingBatch",
    "cuda",
]
