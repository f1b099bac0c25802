"""What a run needs of its machine, and the flags with which it fits."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from surgrec.clips.loader_memory import (
    DEFAULT_STORED,
    LoaderMemory,
    RankBatch,
    least_memory,
    with_most_workers,
)
from surgrec.errors import ConfigError
from surgrec.models.activations import ActivationCheckpointing
from surgrec.planning._methods import method_of
from surgrec.planning._step_memory import StaticMemory, StepMemory, static_memory, step_memory
from surgrec.training import RunConfig, Sharding
from surgrec.training.gpus import GIB, GPUS, Gpu

MODES: tuple[ActivationCheckpointing, ...] = ("none", "selective", "full")
"""Kinds of activation checkpointing, from the fastest to the smallest."""
_ENOUGH_TOKENS = 16_384
"""Tokens of whole clips in a part that keep a GPU busy: 8 clips of 16 frames of 256 px. A part with
fewer is chosen only if no kind of checkpointing allows more."""
_SLOWER: Mapping[ActivationCheckpointing, float] = {"none": 1.0, "selective": 1.05, "full": 4 / 3}
"""Time of a step relative to one without checkpointing, at most (docs/running.md)."""
_STORED_FPS = 8.0
_CPU_S_PER_FRAME = 0.0139 / 20.5
"""Processor time per stored frame, seconds: 13.9 ms for a clip of 16 frames at 6.25 per second, of
a corpus with 8 per second, in worker processes (benchmarks/README.md)."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a run fits with one kind of activation checkpointing."""

    checkpointing: ActivationCheckpointing
    """The activations that the backward pass computes again."""
    memory: StepMemory
    """Memory of a part."""
    largest: int
    """Most samples of a part."""


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What a run needs. Sizes are bytes."""

    gpu: str
    """Name of the GPU."""
    gpus: int
    """Number of GPUs."""
    samples_per_gpu: int
    """Samples of a GPU in one step."""
    usable: int
    """Memory of a GPU that tensors may take."""
    static: StaticMemory
    """Memory that does not depend on the batch."""
    fits: list[Fit]
    """One entry per kind of checkpointing."""
    chosen: Fit
    """The entry with which the run fits best."""
    sharding: Sharding
    """Whether weights, gradients and moments are divided among the GPUs."""
    accumulation: int
    """Parts of a step."""
    samples_per_part: int
    """Samples of the largest part."""
    kept: int
    """Memory of the largest part at the end of the forward pass, without weights in bf16."""
    transient: int
    """Further memory at the worst moment of the backward pass."""
    peak: int
    """Greatest memory of a GPU, without the context of CUDA."""
    loader: LoaderMemory
    """Host memory of the loader of one GPU."""
    samples_per_s: float
    """Samples that all loaders together must bring, per second."""
    cores: int
    """Processor cores that decode them."""
    days: float
    """Length of the run at the assumed MFU."""
    mfu: float
    """Assumed share of the peak rate."""
    checkpoint: int
    """Size of one checkpoint."""
    host_start: int
    """Host memory of each process while its network is built: weights, and those of `init_from`."""
    host_save: int
    """Host memory of the main process from its first save on: a copy of the whole state. With
    sharding, the state is gathered there, one tensor at a time."""
    flags: list[str]
    """Options to add to the command, as words."""


def plan_run(config: RunConfig, *, gpu: str, gpus: int, mfu: float) -> RunPlan:
    """Return what a run needs, and the options with which it fits.

    Options that the config sets are kept: a kind of checkpointing, or more parts.

    Args:
        config: The recipe's config.
        gpu: Name of a GPU, from `GPUS`.
        gpus: Number of GPUs, one process each.
        mfu: Share of the GPU's peak rate that a step reaches, above 0 to 1.

    Raises:
        ConfigError: The GPU is unknown or lacks the precision, the number of GPUs does not divide
            the batch, or the run does not fit.
    """
    device = _gpu(gpu, config)
    if config.global_batch % gpus:
        raise ConfigError(
            f"global_batch is {config.global_batch} and gpus is {gpus}, which does not divide it; "
            f"give --gpus {_divisor(config.global_batch, gpus)}, or another --global_batch"
        )
    samples = config.global_batch // gpus
    views = int(getattr(config, "views", 1))
    with torch.device("meta"):
        method = method_of(config, samples)
    whole = static_memory(method)

    placement = _place(config, whole, gpu, gpus=gpus, samples=samples, views=views)
    chosen = placement.chosen
    part = math.ceil(samples / placement.accumulation)
    kept = part * views * chosen.memory.kept_per_clip

    # The loaders must follow the rate that the GPUs reach.
    flops_per_sample = method.flops_per_clip * views * _SLOWER[chosen.checkpointing]
    peak_flops = device.peak_flops(config.precision)
    assert peak_flops is not None
    samples_per_s = gpus * mfu * peak_flops / flops_per_sample
    loader, memory_gb = _loader(config, samples, views, placement.accumulation)
    checkpoint = whole.parameters + whole.moments + whole.target

    return RunPlan(
        gpu=gpu,
        gpus=gpus,
        samples_per_gpu=samples,
        usable=device.usable_bytes,
        static=placement.static,
        fits=placement.fits,
        chosen=chosen,
        sharding=placement.sharding,
        accumulation=placement.accumulation,
        samples_per_part=part,
        kept=int(kept),
        transient=int(part * views * chosen.memory.peak_per_clip - kept),
        peak=int(placement.static.total + chosen.memory.peak(part * views)),
        loader=loader,
        samples_per_s=samples_per_s,
        cores=_cores(config, samples_per_s),
        days=config.positions / samples_per_s / 86_400,
        mfu=mfu,
        checkpoint=checkpoint,
        host_start=whole.parameters * (1 if config.init_from is None else 2),
        host_save=checkpoint,
        flags=_flags(config, placement, memory_gb),
    )


@dataclass(frozen=True, kw_only=True)
class _Placement:
    """How weights and parts are placed on the GPUs. The fields are those of `RunPlan`."""

    static: StaticMemory
    fits: list[Fit]
    chosen: Fit
    accumulation: int

    @property
    def sharding(self) -> Sharding:
        return "full" if self.static.gathered else "none"


def _place(
    config: RunConfig, whole: StaticMemory, gpu: str, *, gpus: int, samples: int, views: int
) -> _Placement:
    """Return the fastest placement that fits. Weights are divided only if nothing else fits.

    Raises:
        ConfigError: Nothing fits, or a GPU has fewer samples than parts.
    """
    usable = GPUS[gpu].usable_bytes
    modes = MODES[MODES.index(config.activation_checkpointing) :]
    memories = {mode: step_memory(config, mode, samples) for mode in modes}

    for static in _divisions(config, whole, gpus):
        fits = [
            Fit(
                checkpointing=mode,
                memory=memory,
                largest=memory.largest(usable - static.total) // views,
            )
            for mode, memory in memories.items()
        ]
        chosen = _choose(fits, samples, config)
        accumulation = _parts(config, samples, chosen.largest)
        if static.start > usable:
            continue
        if chosen.largest and (accumulation == 1 or static.gradients == whole.gradients):
            break
    else:
        raise ConfigError(_too_large(gpu, static, chosen, views))

    if accumulation > samples:
        raise ConfigError(
            f"accumulation is {accumulation}, but a GPU has {samples} samples per step; give a "
            "smaller accumulation"
        )
    return _Placement(static=static, fits=fits, chosen=chosen, accumulation=accumulation)


def _parts(config: RunConfig, samples: int, largest: int) -> int:
    """Return the parts of a step: those of the config if they fit, or else the fewest that fit.

    Parts that keep mask groups whole, or divide each alone, are preferred if they have at least
    half the samples: a group that lies in two parts costs each part its own, smaller passes.
    """
    fewest = max(config.accumulation, math.ceil(samples / max(largest, 1)))
    group: int | None = getattr(getattr(config, "objective", None), "mask_group", None)
    if fewest == config.accumulation or group is None:
        return fewest
    for count in range(fewest, min(2 * fewest, samples) + 1):
        size, rest = divmod(samples, count)
        if not rest and (size % group == 0 or group % size == 0):
            return count
    return fewest


def _loader(
    config: RunConfig, samples: int, views: int, accumulation: int
) -> tuple[LoaderMemory, float | None]:
    """Return the host memory of a loader, and the `loader.memory_gb` that it needs, if another."""
    batch = RankBatch(
        samples=samples,
        views=views,
        num_frames=config.encoder.num_frames,
        augment=config.augment,
        stored=DEFAULT_STORED,
        parts=accumulation,
    )
    return least_memory(with_most_workers(config.loader), batch, pinned=True)


def _cores(config: RunConfig, samples_per_s: float) -> int:
    """Return the processor cores that decode this many samples per second."""
    stored_frames = config.encoder.num_frames * max(1.0, _STORED_FPS / config.sampling_fps)
    return math.ceil(samples_per_s * stored_frames * _CPU_S_PER_FRAME)


def _gpu(name: str, config: RunConfig) -> Gpu:
    if name not in GPUS:
        raise ConfigError(f"gpu is {name!r}, which is unknown; give one of {', '.join(GPUS)}")
    if GPUS[name].peak_flops(config.precision) is None:
        raise ConfigError(
            f"{name} has no {config.precision}, the precision of the run; give --precision fp16 or "
            "no, or another --gpu"
        )
    return GPUS[name]


def _divisor(batch: int, near: int) -> int:
    return max(number for number in range(1, min(near, batch) + 1) if batch % number == 0)


def _divisions(config: RunConfig, static: StaticMemory, gpus: int) -> Iterator[StaticMemory]:
    """Yield the ways to place weights, gradients and moments, from the fastest."""
    if config.sharding == "none":
        yield static
    if gpus > 1 or config.sharding == "full":
        yield static.sharded(gpus, in_parts=False)
        yield static.sharded(gpus, in_parts=True)


def _choose(fits: list[Fit], samples: int, config: RunConfig) -> Fit:
    """Return the fastest kind that allows parts of a good size, or else the one of the largest."""
    enough = min(samples, math.ceil(_ENOUGH_TOKENS / config.encoder.grid.num_tokens))
    good = [fit for fit in fits if fit.largest >= enough]
    return good[0] if good else max(fits, key=_room)


def _room(fit: Fit) -> tuple[int, float]:
    return fit.largest, -fit.memory.peak_per_clip


def _too_large(gpu: str, static: StaticMemory, best: Fit, views: int) -> str:
    step = static.total + best.memory.peak(views)
    needed = max(step, static.start)
    larger = [name for name, other in GPUS.items() if other.usable_bytes >= needed]

    if static.start > GPUS[gpu].usable_bytes:
        remedy = f"give --gpu {larger[-1]}, or" if larger else "give"
        return (
            f"a process needs {static.start / GIB:.1f} GiB at its start, before its weights are "
            f"divided, but a {gpu} has {GPUS[gpu].usable_bytes / GIB:.1f} for tensors; {remedy} "
            "a smaller encoder"
        )

    remedy = f"give --gpu {larger[-1]}" if larger else "give more --gpus"
    return (
        f"one sample needs {step / GIB:.1f} GiB with activation_checkpointing "
        f"{best.checkpointing}, of which {static.total / GIB:.1f} are weights, gradients and "
        f"moments, but a {gpu} has {GPUS[gpu].usable_bytes / GIB:.1f} for tensors; {remedy}, or "
        "a smaller encoder or clip"
    )


def _flags(config: RunConfig, placement: _Placement, memory_gb: float | None) -> list[str]:
    """Return the options by which the plan differs from the config."""
    wanted: dict[str, Any] = {}
    if placement.accumulation != config.accumulation:
        wanted["--accumulation"] = placement.accumulation
    if placement.chosen.checkpointing != config.activation_checkpointing:
        wanted["--activation_checkpointing"] = placement.chosen.checkpointing
    if placement.sharding != config.sharding:
        wanted["--sharding"] = placement.sharding
    if memory_gb is not None:
        wanted["--loader.memory_gb"] = f"{memory_gb:g}"
    return [str(word) for pair in wanted.items() for word in pair]
