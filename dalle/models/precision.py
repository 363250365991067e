"""The arithmetic in which pictures are scored and judged, and that of what must not be computed in 16 bit."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_precision() -> Iterator[None]:
    """Inference in true float32: no autocast, no TF32, no bfloat16 products, whatever has been set outside."""
    outside = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            torch.inference_mode(),
            torch.autocast("cpu", enabled=False),
            torch.autocast("cuda", enabled=False),
            torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(outside)


@contextmanager
def without_autocast(device: str) -> Iterator[None]:
    """What stands within is computed in the type of its tensors, whatever is cast outside."""
    if not torch.amp.is_autocast_available(device):  # on the meta device nothing is computed
        yield
        return
    with torch.autocast(device, enabled=False):
        yield
