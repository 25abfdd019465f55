"""Precision: device and number format that a run computes in."""

from dataclasses import dataclass

import torch

from bpt_det.utils.errors import InputError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """A device and the dtype of its matrix products; float32 means no mixed precision."""

    device: str
    dtype: torch.dtype

    @property
    def dtype_name(self) -> str:
        """Name of the dtype, such as ``bfloat16``."""
        return str(self.dtype).removeprefix("torch.")

    def autocast(self) -> torch.autocast:
        """Return the context in which the forward pass runs."""
        return torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32)

    def grad_scaler(self) -> torch.amp.GradScaler:
        """Return a loss scaler; only float16, whose gradients underflow, really scales."""
        return torch.amp.GradScaler(self.device, enabled=self.dtype == torch.float16)


def computes_bfloat16(device: str) -> bool:
    """Return whether a device computes matrix products in bfloat16, and faster than in float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu" or not hasattr(torch.cpu, "get_capabilities"):  # PyTorch before 2.11
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def resolve_device(name: str) -> str:
    """Return ``cuda``, ``cpu`` or ``mps`` for a configured device; ``auto`` prefers CUDA's GPU.

    Raises:
        InputError: the name is unknown, or a GPU is asked for and there is none.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda", "mps"):
        raise InputError(f"train.device must be auto, cpu, cuda or mps, got '{name}'.")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("train.device is 'cuda' but no GPU is visible; use train.device=cpu.")
    if name == "mps" and not torch.backends.mps.is_available():
        raise InputError("train.device is 'mps' but this is no Mac with one; use train.device=cpu.")
    return name


def resolve_precision(name: str, device: str, key: str = "precision") -> Precision:
    """Return the precision for a configured name on a device.

    Args:
        name: ``auto`` (bfloat16 on GPUs that have it, float16 on others, float32 without CUDA) or
            one of float32, bfloat16, float16.
        device: of `resolve_device`.
        key: of the setting, for the error.

    Raises:
        InputError: the name is unknown.
    """
    if name == "auto":
        if device != "cuda":
            name = "float32"
        else:
            name = "bfloat16" if computes_bfloat16(device) else "float16"
    if name not in _DTYPES:
        known = ", ".join(_DTYPES)
        raise InputError(f"{key} must be auto or one of {known}, got '{name}'.")
    return Precision(device, _DTYPES[name])
