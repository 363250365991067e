"""How a process of the training benchmark works: it builds what it is asked for, and takes a step whenever told to.

Read from standard input: a line of JSON, and then a line for each step. Written to standard output: the number of
parameters after a first step that is not timed, the seconds of each step, and at the end the peak memory in MiB.
Processes that take turns meet the same other work on the machine. Nothing here but PyTorch is needed, so the Python
of another environment can run it.
"""

import json
import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from time import perf_counter
from typing import Any

Built = tuple[Iterable[Any], Callable[[], Any]]  # parameters, and the function that computes a loss


def serve(build: Callable[[dict[str, Any]], Built]) -> None:
    """Until standard input ends. A step is the loss, its gradients, and fused AdamW."""
    import resource

    import torch

    given = json.loads(sys.stdin.readline())
    torch.set_num_threads(given["threads"])
    torch.manual_seed(0)
    parameters, loss = build(given)
    parameters = [each for each in parameters if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    cast = torch.autocast("cpu", torch.bfloat16) if given["precision"] == "bf16" else nullcontext()

    def step() -> float:
        start = perf_counter()
        with cast:
            value = loss()
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        return perf_counter() - start

    step()
    print(sum(each.numel() for each in parameters), flush=True)
    for _ in sys.stdin:
        print(step(), flush=True)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, flush=True)
