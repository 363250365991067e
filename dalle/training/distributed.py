"""The processes that train together: who has which weights, and how gradients become everybody's.

    ddp     every process has all weights and a share of the batch; gradients are averaged
    fsdp    weights, gradients and moments are cut among ``shards`` processes and gathered block by block while they
            are needed; where there are more processes, each group of ``shards`` is a replica

With PowerSGD the exchange between replicas is left to :class:`dalle.training.powersgd.PowerSGD`.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from accelerate import Accelerator, DistributedDataParallelKwargs
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, Shard

from dalle.config.distributed import Distributed


class Team:
    """The processes of one training, as torchrun, accelerate or dalle/training/launch.py started them.

    Raises ValueError if they cannot be cut into groups of ``shards``.
    """

    def __init__(self, settings: Distributed) -> None:
        self.settings = settings
        handlers = [DistributedDataParallelKwargs(broadcast_buffers=False)]
        alone = "WORLD_SIZE" not in os.environ  # accelerate makes no team of CPUs unless told so
        self.accelerator = Accelerator(cpu=not (alone or torch.cuda.is_available()), kwargs_handlers=handlers)
        self.count, self.index = self.accelerator.num_processes, self.accelerator.process_index
        # accelerate's "cpu:0" is no place that torch can load a checkpoint to.
        place = self.accelerator.device
        self.device: torch.device = torch.device("cpu") if place.type == "cpu" else place
        self.shards = (settings.shards or self.count) if settings.kind == "fsdp" else 1
        if self.count == 1:  # one process has nothing to share: the settings are for those who have
            self.shards = 1
        if self.count % self.shards:
            raise ValueError(f"distributed.shards: {self.shards} does not divide the {self.count} processes")
        self.replicas = self.count // self.shards
        self.compresses = settings.powersgd is not None and self.replicas > 1
        self._mesh = self._replicate_and_shard() if self.shards > 1 else None

    @property
    def is_main(self) -> bool:
        """Whether this process speaks for all."""
        return self.accelerator.is_main_process

    @property
    def lead(self) -> int:
        """The process of the first replica that has the same weights as this one."""
        return self.index % self.shards

    def join(self, stage: nn.Module, dtype: torch.dtype | None) -> nn.Module:
        """What is called for a loss: ``stage`` on this process's device, wrapped if gradients are averaged in passing.

        ``dtype`` is what sharded blocks are gathered in, if it is not float32. A stage that is sharded goes to the
        device block by block, each cut at once: it need not fit there.
        """
        if self._mesh is not None:
            mesh = self._mesh["shard"] if self.compresses or self.replicas == 1 else self._mesh
            return shard(stage, mesh, dtype)
        stage.to(self.device)
        return stage if self.count == 1 or self.compresses else self.accelerator.prepare(stage)

    def replica_group(self) -> dist.ProcessGroup:
        """The processes that have the same weights as this one, one of each replica."""
        return self._mesh["replicate"].get_group() if self._mesh is not None else dist.group.WORLD

    @contextmanager
    def part(self, wrapped: nn.Module, last: bool) -> Iterator[None]:
        """Gradients of all parts of a batch are added up; only behind the ``last`` one they are exchanged."""
        if isinstance(wrapped, FSDPModule):
            wrapped.set_requires_gradient_sync(last)
            yield
        elif last or wrapped is self.accelerator.unwrap_model(wrapped):
            yield
        else:
            with wrapped.no_sync():
                yield

    def rest(self, stage: nn.Module) -> None:
        """After a pass without gradients: what was gathered for it is let go."""
        if isinstance(stage, FSDPModule):
            stage.reshard()

    def mean(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The mean over all processes."""
        return self.accelerator.reduce(value, "mean")

    def all(self, flags: Bool[Tensor, "..."]) -> Bool[Tensor, "..."]:
        """True where it is True in every process."""
        if self.count == 1:
            return flags
        return self.accelerator.reduce((~flags).float(), "sum") == 0

    def wait(self) -> None:
        """Nobody goes on before all are here."""
        self.accelerator.wait_for_everyone()

    def _replicate_and_shard(self) -> dist.DeviceMesh:
        shape = (self.replicas, self.shards)
        return dist.init_device_mesh(self.device.type, shape, mesh_dim_names=("replicate", "shard"))


def shard(stage: nn.Module, mesh: dist.DeviceMesh, dtype: torch.dtype | None) -> FSDPModule:
    """``stage`` with every block of its model, and all that is left, cut among the processes of ``mesh``.

    What blocks multiply with is gathered in ``dtype``; norms, embeddings and heads in float32.
    """

    def longer_side(parameter: nn.Parameter) -> Shard:
        """As the paper cuts: the MLP's second matrix on its other axis, or rank would buy less (table 2)."""
        wide = parameter.ndim == 2 and parameter.shape[1] > parameter.shape[0]
        return Shard(1) if wide and parameter.shape[1] % mesh.shape[-1] == 0 else Shard(0)

    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for block in getattr(stage.model, "blocks", []):
        norms = [module for module in block.modules() if isinstance(module, nn.LayerNorm)]
        if dtype is not None and norms:  # gains stay in float32 (§2.4)
            fully_shard(norms, mesh=mesh, shard_placement_fn=longer_side)
        fully_shard(block, mesh=mesh, mp_policy=policy, shard_placement_fn=longer_side)
    fully_shard(stage, mesh=mesh, shard_placement_fn=longer_side)
    if hasattr(stage, "validate"):
        register_fsdp_forward_method(stage, "validate")
    return stage


def local(tensor: Tensor) -> Shaped[Tensor, "..."]:
    """This process's part of a tensor; all of it, where it is not sharded. Shares its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def like(part: Shaped[Tensor, "..."], whole: Tensor) -> Tensor:
    """``part``, sharded as ``whole`` is."""
    if not isinstance(whole, DTensor):
        return part
    return DTensor.from_local(part, whole.device_mesh, whole.placements, shape=whole.shape, stride=whole.stride())


def gathered(tensor: Tensor) -> Shaped[Tensor, "..."]:
    """All of a tensor, in every process."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def clip_norm(parameters: Iterable[nn.Parameter], most: float) -> Float[Tensor, ""]:
    """The global norm of the gradients before they are shortened to ``most``."""
    return gathered(nn.utils.clip_grad_norm_(parameters, most)).detach()
