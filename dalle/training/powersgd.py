"""PowerSGD between replicas (Vogels et al. 2019), as the paper uses it (§2.5, §E).

Of a gradient M = g + e (m × n; e is the error of the updates before) the replicas exchange P = MQ (m × r), make it
orthogonal, exchange Mᵀ·P (n × r), and go on with their product; what it lacks is the new e. A gradient with more rows
than columns is taken transposed: so P is the smaller factor. Everything but the residual branches' matrices goes whole,
in float32.

Not torch's hook for DDP: it counts its errors by bucket, and buckets change when a run is resumed; it compresses
embeddings; it knows no fixed Q; and it does not go with sharded weights.
"""

from collections.abc import Mapping

import torch
import torch.distributed as dist
from jaxtyping import Float, Float32
from torch import Tensor, nn

from dalle.config.distributed import PowerSGD as Settings
from dalle.config.training import Optimisation
from dalle.models.compression import default_rank
from dalle.seeding import seed_for
from dalle.training.distributed import Team, local

FUSED = {"qkv.weight": 3}  # compressed in as many parts as it holds matrices, here as in dalle/plan/traffic.py
Matrix = Float32[Tensor, "m n"]


class PowerSGD:
    """The exchange of one process with those of its number in the other replicas (``group``).

    ``parameters`` are all that learn, by name; ``matrices`` the names of those that are compressed. ``sent`` is the
    payload of all exchanges so far, bytes; ``wire`` the format of P and Q on the way.
    """

    def __init__(
        self,
        settings: Settings,
        parameters: Mapping[str, nn.Parameter],
        matrices: set[str],
        shards: int,
        seed: int,
        group: dist.ProcessGroup | None,
        wire: torch.dtype = torch.float32,
    ) -> None:
        self.settings, self.parameters, self.group, self.wire = settings, parameters, group, wire
        self.names = {name for name in matrices if parameters[name].ndim == 2}
        widths = [min(parameters[name].shape) for name in self.names]
        total = settings.rank or default_rank(max(widths, default=1))
        self.rank, self.seed = max(1, total // shards), seed
        self.errors: dict[str, Matrix] = {}
        self.qs: dict[str, Float32[Tensor, "n r"]] = {}
        self.sent = 0

    @torch.no_grad()
    def reduce(self, step: int) -> None:
        """Every gradient becomes its mean over the replicas, those of matrices but roughly.

        A gradient that is not finite in some replica is NaN in all; its error stays what it was.
        """
        whole, compressed = [], {}
        for name, parameter in self.parameters.items():
            if parameter.grad is None:
                continue
            gradient = local(parameter.grad)
            if name not in self.names or step < self.settings.uncompressed:
                whole.append(gradient)
                continue
            for number, matrix in enumerate(gradient.chunk(_parts(name))):
                if self.rank * sum(matrix.shape) < matrix.numel():
                    compressed[f"{name}/{number}"] = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
                else:
                    whole.append(matrix)
        self._mean_of(whole, torch.float32)
        self._compress(compressed)

    def _compress(self, gradients: dict[str, Matrix]) -> None:
        """Replaces each of ``gradients`` by what all replicas know of its mean."""
        for name, gradient in gradients.items():
            gradient.add_(self.errors.get(name, 0.0))  # from here on it is what should be sent
        ps = {name: gradient @ self._q(name, gradient) for name, gradient in gradients.items()}
        self._mean_of(list(ps.values()), self.wire)
        finite = {name: p for name, p in ps.items() if p.isfinite().all()}
        for name, p in finite.items():
            p.diagonal().add_(self.settings.jitter)
            ps[name] = torch.linalg.qr(p).Q  # Householder
        qs = {name: gradients[name].T @ ps[name] for name in finite}
        self._mean_of(list(qs.values()), self.wire)
        for name, gradient in gradients.items():
            if name not in finite:
                gradient.fill_(torch.nan)
                continue
            known = ps[name] @ qs[name].T
            self.errors[name] = gradient - known
            gradient.copy_(known)
        if not self.settings.fixed_q:
            self.qs |= qs

    def _q(self, name: str, gradient: Matrix) -> Float32[Tensor, "n r"]:
        """Random, and the same in every process that has this part of the matrix."""
        if name not in self.qs:
            generator = torch.Generator().manual_seed(seed_for(self.seed, "powersgd", name))
            self.qs[name] = torch.randn(gradient.shape[1], self.rank, generator=generator).to(gradient.device)
        return self.qs[name]

    def _mean_of(self, values: list[Float[Tensor, "..."]], wire: torch.dtype) -> None:
        """One exchange for all ``values``, which become their means."""
        if not values:
            return
        flat = torch.cat([value.flatten() for value in values]).to(wire)
        dist.all_reduce(flat, group=self.group)
        self.sent += flat.numel() * flat.element_size()
        means = flat.float() / dist.get_world_size(self.group)
        for value, mean in zip(values, means.split([each.numel() for each in values]), strict=True):
            value.copy_(mean.view_as(value))

    def state_dict(self) -> dict[str, dict[str, Tensor] | int]:
        """What the next updates depend on: this process's errors and, with a warm start, the Qs."""
        return {"errors": self.errors, "qs": {} if self.settings.fixed_q else self.qs, "sent": self.sent}

    def load_state_dict(self, state: dict[str, dict[str, Tensor] | int]) -> None:
        self.errors, self.qs, self.sent = state["errors"], state["qs"], state["sent"]


def make_powersgd(
    settings: Optimisation, model: nn.Module, branches: list[list[str]], team: Team, seed: int
) -> PowerSGD | None:
    """The exchange that ``settings.distributed.powersgd`` asks for; None where there is nothing to compress for."""
    if not team.compresses:
        return None
    wire = torch.float32 if settings.precision == "float32" else torch.bfloat16
    matrices = {name for branch in branches for name in branch}
    learnt = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    return PowerSGD(settings.distributed.powersgd, learnt, matrices, team.shards, seed, team.replica_group(), wire)


def _parts(name: str) -> int:
    return next((parts for end, parts in FUSED.items() if name.endswith(end)), 1)
