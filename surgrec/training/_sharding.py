"""Sharding: every rank keeps its part of weights, gradients and moments (FSDP2).

Whole weights of a block exist while it computes. Weights, gradients and their sums over the ranks
are float32, and autocast applies as without sharding, so losses do not change but for rounding.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from surgrec.models import Encoder
from surgrec.models.blocks import Block

Sharding: TypeAlias = Literal["none", "full"]


def shard_training(
    modules: Iterable[nn.Module], trained: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Shard modules over all ranks; the optimizer then updates the shards.

    A collective. The ranks must have equal weights, and the optimizer no state.

    Args:
        modules: The objective, and other modules such as the target encoder.
        trained: The module whose parameters the optimizer updates.
        optimizer: Its optimizer.
    """
    names = {id(parameter): name for name, parameter in trained.named_parameters()}
    device = next(trained.parameters()).device
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for module in modules:
        if any(True for _ in module.parameters()):
            _shard(module, mesh)

    shards = dict(trained.named_parameters())
    for group in optimizer.param_groups:
        group["params"] = [shards[names[id(parameter)]] for parameter in group["params"]]


def _shard(module: nn.Module, mesh: DeviceMesh) -> None:
    """Shard a module: each block, then its encoder and its head, then the rest."""
    blocks = [part for part in module.modules() if isinstance(part, Block)]
    networks = [] if isinstance(module, Encoder) else list(module.children())
    for part in (*blocks, *networks, module):
        # Also after the last forward pass: a target encoder has no backward pass, and would keep
        # whole weights of an earlier step.
        fully_shard(part, mesh=mesh, reshard_after_forward=True)

    # Objectives call these methods instead of `forward`.
    for network in (*networks, module):
        for method in ("embed", "encode_levels", "predict_with_context"):
            if hasattr(network, method):
                register_fsdp_forward_method(network, method)


def is_sharded(module: nn.Module) -> bool:
    """Whether a module was sharded by `shard_training`."""
    return isinstance(module, FSDPModule)


@contextmanager
def without_exchange(module: nn.Module) -> Iterator[None]:
    """Accumulate whole gradients of a sharded module on each rank, without their exchange."""
    assert isinstance(module, FSDPModule)
    module.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        module.set_requires_gradient_sync(True)


def local(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this rank keeps: all of it, if it is not sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Return a whole tensor. A collective, if it is sharded."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def whole_encoder(encoder: Encoder) -> Encoder:
    """Return a whole copy of a sharded encoder on this rank's device; any other one as it is.

    Forward passes of the copy are no collectives, so a rank can measure clips of its own. The copy
    takes the memory of the encoder's weights. A collective, if the encoder is sharded.
    """
    if not is_sharded(encoder):
        return encoder
    with torch.device("meta"):
        copy = Encoder(encoder.config)
    for name, part in copy.named_modules():
        original = encoder.get_submodule(name)
        for key, parameter in original.named_parameters(recurse=False):
            part.register_parameter(key, nn.Parameter(whole(parameter), requires_grad=False))
        for key, buffer in original.named_buffers(recurse=False):
            setattr(part, key, buffer)
    return copy


@torch.no_grad()
def receive_weights(modules: Iterable[nn.Module]) -> None:
    """Give the weights of the main process to all ranks. A collective."""
    for module in modules:
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, src=0)


@torch.no_grad()
def place_moments(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    moments: Mapping[str, Mapping[str, Tensor]],
    names: Iterable[str],
) -> None:
    """Set the optimizer's state on each rank's device, sharded as the parameters are.

    A collective. One whole tensor at a time is on the device.

    Args:
        optimizer: Its state is replaced.
        parameters: The parameters that it updates, by name.
        moments: The state of each parameter by its name, on the main process; empty on others.
        names: Names of the values of a state; `step` has no axes, others have the parameter's.
    """
    for name, parameter in parameters.items():
        optimizer.state[parameter] = {
            moment: _placed(parameter, moment, moments.get(name, {}).get(moment))
            for moment in names
        }


def _placed(parameter: nn.Parameter, moment: str, value: Tensor | None) -> Tensor:
    if value is None:
        value = torch.empty(() if moment == "step" else parameter.shape)
    value = value.to(parameter.device)
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.broadcast(value, src=0)
    if isinstance(parameter, DTensor) and moment != "step":
        mesh, placements = parameter.device_mesh, parameter.placements
        return distribute_tensor(value, mesh, placements, src_data_rank=None)
    return value
