"""What a step of DALLE-pytorch 1.6.6 takes with its cache. Runs with the Python of an environment that has it.

Reads a JSON object from standard input and writes one to standard output, see :func:`main`. Its ``generate_images``
leaves the cache unused at cond_scale = 1, so the loop is its own with the cache handed on: ``DALLE.forward``, and
``gumbel_sample`` on the last position. Layers are rows and columns as its cache has them; a convolutional layer would
go over the whole sequence at every step.
"""

import json
import resource
import sys
import types
from collections import deque
from time import perf_counter
from typing import Any

import torch


def load_dalle(given: dict[str, Any]) -> Any:
    """The model, its weights random. Its layers have 16·width² parameters to our 12·width², so it has fewer of them."""
    from dalle_pytorch import DALLE, DiscreteVAE

    vae = DiscreteVAE(image_size=2 * given["grid"], num_layers=1, num_tokens=given["codes"], hidden_dim=8)
    return DALLE(
        dim=given["width"],
        vae=vae,
        depth=given["depth"] * 12 // 16,
        heads=given["heads"],
        dim_head=given["width"] // given["heads"],
        num_text_tokens=given["text_vocab"],
        text_seq_len=given["text_context"],
        attn_types=("axial_row", "axial_col", "axial_row", "axial_row"),
        optimize_for_inference=True,
    ).eval()


def repeated(thing: Any, times: int) -> Any:
    """What a cache holds for one row, for ``times`` rows, each with its own copy."""
    if isinstance(thing, torch.Tensor):
        return thing.repeat(times, *[1] * (thing.ndim - 1))
    if isinstance(thing, tuple | deque):
        return type(thing)(repeated(part, times) for part in thing)
    return thing


def main() -> None:
    """Given: the shape, ``rows``, ``threads`` and ``runs`` of cells. Written: the seconds of the prefill and of each
    step (a list for each run), the number of parameters without the VAE's, and the peak memory in MiB.
    """
    for name in ("taming", "taming.models", "taming.models.vqgan", "omegaconf"):  # needed by its VQGAN only
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(VQModel=object, GumbelVQ=object, OmegaConf=object)
    from dalle_pytorch.dalle_pytorch import gumbel_sample

    given = json.load(sys.stdin)
    torch.set_num_threads(given["threads"])
    torch.manual_seed(0)
    dalle, rows = load_dalle(given), given["rows"]
    text = torch.randint(1, given["text_vocab"], (1, given["text_context"])).expand(rows, -1)
    cells = torch.randint(given["codes"], (1, given["grid"] ** 2)).expand(rows, -1)
    seconds = []
    with torch.inference_mode():
        start = perf_counter()
        dalle(text.clone(), cells[:, :0], cache={})
        prefill = perf_counter() - start
        for first, *others in given["runs"]:
            one: dict[str, Any] = {}
            dalle(text[:1].clone(), cells[:1, :first], cache=one)
            cache = {name: repeated(thing, rows) for name, thing in one.items()}
            seconds.append([])
            for cell in [first, *others]:
                start = perf_counter()
                logits = dalle(text.clone(), cells[:, : cell + 1], cache=cache)[:, -1]
                gumbel_sample(logits, temperature=1.0, dim=-1)
                seconds[-1].append(perf_counter() - start)
    parameters = sum(value.numel() for name, value in dalle.named_parameters() if not name.startswith("vae."))
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    json.dump({"prefill": prefill, "seconds": seconds, "parameters": parameters, "peak": peak}, sys.stdout)


if __name__ == "__main__":
    main()
