"""The device that networks are trained on and applied on."""

import torch

from pipeline.config.runtime import RuntimeSettings
from pipeline.errors import PseudomaskError


def find_device(runtime: RuntimeSettings) -> torch.device:
    """The device networks run on.

    Raises:
        PseudomaskError: CUDA is asked for and absent.
    """
    available = torch.cuda.is_available()
    if runtime.device == "cuda" and not available:
        raise PseudomaskError("runtime.device is 'cuda', but torch finds no CUDA device; set it to 'cpu' or 'auto'")
    return torch.device("cuda" if available and runtime.device != "cpu" else "cpu")
