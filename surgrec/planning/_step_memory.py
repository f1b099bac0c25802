"""The memory of a training step, counted from the model itself."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from surgrec.models.activations import ActivationCheckpointing
from surgrec.models.blocks import Block, checkpoint_activations
from surgrec.models.tokens import NUM_CHANNELS
from surgrec.planning._live_bytes import LiveBytes
from surgrec.planning._methods import Method, method_of
from surgrec.training import RunConfig, build_optimizer

_FLOAT = 4
"""Bytes of a float32: weights, gradients, moments and the moving average have this type."""


@dataclass(frozen=True, kw_only=True)
class StaticMemory:
    """Memory of a rank that does not depend on its batch, bytes."""

    parameters: int
    """Trained weights."""
    gradients: int
    """Gradients. They are views of the buckets that DDP exchanges, so buckets need no more."""
    moments: int
    """Both moments of AdamW."""
    target: int
    """The moving average of a JEPA's encoder."""
    buffers: int
    """Tables of positions."""
    block: int
    """Weights of the largest block, a part of `parameters`."""
    rest: int
    """Trained weights outside the blocks, a part of `parameters`."""
    gathered: int = 0
    """With sharding: whole weights and gradients of the blocks that compute."""
    start: int = 0
    """With sharding: the most memory before the first step, while whole weights are divided."""

    @property
    def total(self) -> int:
        """Sum of all parts during a step."""
        return (
            self.parameters
            + self.gradients
            + self.moments
            + self.target
            + self.buffers
            + self.gathered
        )

    def sharded(self, gpus: int, *, in_parts: bool) -> "StaticMemory":
        """Return the memory of a rank with sharding.

        A block computes while the next one is gathered. Its gradients exist whole, and once more
        for their exchange. Weights outside the blocks stay gathered during a pass.

        At the start, a rank has whole weights, and divides them module by module. Those of the
        optimizer stay whole until its moments are divided, one whole tensor at a time.

        Args:
            gpus: Number of ranks.
            in_parts: Whether a step has several parts, so that gradients add up undivided.
        """
        shares = math.ceil((self.parameters + self.target) / gpus)
        divided = self.parameters + self.target + math.ceil(self.parameters / gpus)
        placed = self.parameters + shares + math.ceil(self.moments / gpus)
        return replace(
            self,
            start=self.buffers + max(divided, placed) + max(self.block, self.rest),
            parameters=math.ceil(self.parameters / gpus),
            gradients=self.gradients if in_parts else math.ceil(self.gradients / gpus),
            moments=math.ceil(self.moments / gpus),
            target=math.ceil(self.target / gpus),
            gathered=4 * self.block + 2 * self.rest,
        )


@dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Memory of one part of a step beside the static memory, bytes."""

    constant: int
    """Bytes that do not grow with the part: copies of the weights in bf16."""
    kept_per_clip: float
    """At the end of the forward pass: clips, targets, and activations kept for the backward."""
    peak_per_clip: float
    """At the worst moment of forward and backward pass."""

    def peak(self, clips: int) -> float:
        """Return the peak of a part of this many clips."""
        return self.constant + clips * self.peak_per_clip

    def largest(self, available: int) -> int:
        """Return the most clips whose peak fits."""
        return max(0, int((available - self.constant) // self.peak_per_clip))


def static_memory(method: Method) -> StaticMemory:
    """Return the memory of weights, gradients, moments and tables."""
    trained = _values(method.objective)
    blocks = [_values(part) for part in method.objective.modules() if isinstance(part, Block)]
    target = 0 if method.target is None else _values(method.target)
    buffers = [buffer for module in method.modules for buffer in module.buffers()]
    return StaticMemory(
        parameters=_FLOAT * trained,
        gradients=_FLOAT * trained,
        moments=2 * _FLOAT * trained,
        target=_FLOAT * target,
        buffers=sum(buffer.nbytes for buffer in buffers),
        block=_FLOAT * max(blocks),
        rest=_FLOAT * (trained - sum(blocks)),
    )


def static_memory_of(config: RunConfig) -> StaticMemory:
    """Return the static memory of a run, without building its weights."""
    with torch.device("meta"):
        return static_memory(method_of(config, 1))


def cuda_step_bytes(
    config: RunConfig, checkpointing: ActivationCheckpointing, samples: int
) -> tuple[int, int]:
    """Run two steps on the GPU, the second with gradients and moments.

    Returns:
        The most bytes that CUDA allocated, and the clips of the part.
    """
    method = method_of(config, samples)
    for module in method.modules:
        module.to("cuda")
    checkpoint_activations(method.objective, checkpointing)
    optimizer = build_optimizer(method.objective, config.optimizer)

    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        clips = torch.zeros(_shape(config, method), device="cuda")
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=config.precision != "no"):
            loss = method.loss(clips)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return torch.cuda.max_memory_allocated(), method.clips


def step_memory(
    config: RunConfig,
    checkpointing: ActivationCheckpointing,
    samples: int,
    *,
    fake: bool = True,
) -> StepMemory:
    """Count the memory of one part of a step: forward and backward pass, on tensors without data.

    The types are those of CUDA's autocast. The attention is a fused kernel, as on GPUs.

    Args:
        config: The recipe's config.
        checkpointing: Activations that are computed again.
        samples: Samples of a rank; a part has one mask group or less.
        fake: False computes with real tensors, which gives the same result.
    """
    with torch.device("meta" if fake else "cpu"):
        method = method_of(config, samples)
    for module in method.modules:
        _norms_in_float32(module)
    checkpoint_activations(method.objective, checkpointing)

    with _without_data() if fake else _with_data():
        if fake:
            for module in method.modules:
                module.to_empty(device="cpu")
        weights = [
            tensor
            for module in method.modules
            for tensor in (*module.parameters(), *module.buffers())
        ]
        for parameter in method.objective.parameters():
            parameter.grad = torch.zeros_like(parameter)
            weights.append(parameter.grad)
        return _counted(config, method, weights)


def _counted(config: RunConfig, method: Method, weights: list[Tensor]) -> StepMemory:
    is_bf16 = config.precision != "no"  # fp16 takes as many bytes

    with LiveBytes(weights) as memory:
        clips = torch.zeros(_shape(config, method))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_bf16):
            loss = method.loss(clips)
        kept, constant = memory.live, memory.constant
        loss.backward()  # type: ignore[no-untyped-call]

    constant = max(constant, memory.constant_at_peak)
    return StepMemory(
        constant=constant,
        kept_per_clip=(kept - constant) / method.clips,
        peak_per_clip=(memory.peak - memory.constant_at_peak) / method.clips,
    )


def _shape(config: RunConfig, method: Method) -> tuple[int, ...]:
    """Return the shape of the clips of a part."""
    encoder = config.encoder
    return (method.clips, NUM_CHANNELS, encoder.num_frames, encoder.crop_px, encoder.crop_px)


@contextmanager
def _without_data() -> Iterator[None]:
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


@contextmanager
def _with_data() -> Iterator[None]:
    yield


def _norms_in_float32(module: nn.Module) -> None:
    """Let norms compute in float32, as CUDA's autocast does and the CPU's does not."""

    def to_float32(norm: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (inputs[0].float(), *inputs[1:])

    for part in module.modules():
        if isinstance(part, nn.LayerNorm):
            part.register_forward_pre_hook(to_float32)


def _values(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
