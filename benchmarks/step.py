"""A training step by phase, beside the same step composed of Hugging Face's modules.

    .venv/bin/python -m benchmarks.step                        # ViT-S on a CPU, one thread
    .venv/bin/python -m benchmarks.step --methods '[jepa]' --sizes '[small]' --compile true
    .venv/bin/python -m benchmarks.step --compare_compiled true    # SurgRec's compiled blocks, too
    .venv/bin/python -m benchmarks.step --device cuda --precision bf16 \
        --sizes '[large, base]' --crop_px 224 --clips 24

Both steps have equal weights, clips and masks, PyTorch's scaled dot-product attention, fused AdamW
and an EMA by foreach, and each round measures them one after the other, in turn. Their first losses
are compared. A ratio is that of one round. Under other load the wall times say nothing; processor
time then compares them on a CPU. `share of products` is the rate of a step over that of float32
or bf16 matrix products on the same thread, or over the peak of the GPU (MFU).
"""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Annotated, Any, Literal

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.contenders.memory_use import peak_bytes
from benchmarks.step_contenders import CONTENDERS, Case, Step
from surgrec.cli import parse
from surgrec.errors import ConfigError
from surgrec.models.encoder import SizeName
from surgrec.ranges import Range, check_ranges
from surgrec.training.gpus import gpu_of

Method = Literal["jepa", "mae"]
_OURS, _THEIRS, _COMPILED = "surgrec", "Hugging Face", "surgrec, compiled"


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Amount of work."""

    methods: tuple[Method, ...] = ("jepa", "mae")
    """Methods to measure."""
    sizes: tuple[SizeName, ...] = ("small", "small")
    """Size of the encoder of each method, in their order."""
    clips: Annotated[int, Range(1, 10_000)] = 2
    """Clips per step, all in one mask group."""
    crop_px: Annotated[int, Range(32, 1024)] = 128
    """Side of a frame; clips have 16 frames."""
    rounds: Annotated[int, Range(1, 1000)] = 5
    """Rounds; each measures both."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device of the step."""
    precision: Literal["no", "bf16"] = "no"
    """Autocast of the forward passes."""
    compile: bool = False
    """Compile the blocks of both."""
    compare_compiled: bool = False
    """Also measure SurgRec's step with compiled blocks beside the one without."""
    threads: Annotated[int, Range(1, 1024)] = 1
    """Threads on a CPU."""
    memory: bool = True
    """Also measure the peak of memory, each step in a process of its own."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if len(self.sizes) != len(self.methods):
            raise ConfigError(
                f"methods has {len(self.methods)} entries and sizes has {len(self.sizes)}; give "
                "one size for each method"
            )
        if self.compile and self.compare_compiled:
            raise ConfigError(
                "compile and compare_compiled are both true, so no step would have blocks without "
                "compilation; set one of them to false"
            )


def main(config: Steps) -> None:
    """Measure and print."""
    torch.set_num_threads(config.threads)
    for method, size in zip(config.methods, config.sizes, strict=True):
        case = Case(
            method=method,
            size=size,
            clips=config.clips,
            crop_px=config.crop_px,
            device=config.device,
            precision=config.precision,
            compiled=config.compile,
        )
        print(f"\n## {method}, ViT-{size}, {config.clips} clips of 16x{config.crop_px}")

        # Every contender runs the same case; ours also compiled, if asked for.
        cases = dict.fromkeys(CONTENDERS[method], case)
        if config.compare_compiled:
            cases[_COMPILED] = replace(case, compiled=True)
        steps = {name: _make(name, case) for name, case in cases.items()}
        _compare_losses(steps)

        rounds = _rounds(steps, config)
        _print_times(rounds, steps[_OURS].flops, config)
        for name, step in steps.items():
            print(f"{name}: launches {_launches(step, cases[name], config)}")
            _print_phases(name, step, config)
        del steps

        # Each in a process of its own, so the steps must be gone.
        if config.memory:
            for name, case in cases.items():
                print(f"{name}: {_peak_bytes(name, case, config) / 2**20:.0f} MiB at most")


def _make(name: str, case: Case) -> Step:
    return CONTENDERS[case.method][_OURS if name == _COMPILED else name](case)


def _compare_losses(steps: dict[str, Step]) -> None:
    """Run two steps of each, which must have equal losses; this warms them up, too."""
    for number in range(2):
        losses = {name: float(step.run()) for name, step in steps.items()}
        print(f"loss {number}: {losses}")
        if max(losses.values()) - min(losses.values()) > 1e-3:
            raise SystemExit("the losses differ, so the steps are not the same")


def _rounds(steps: dict[str, Step], config: Steps) -> list[dict[str, tuple[float, float, float]]]:
    """Return wall time, processor time and rate of matrix products of each round and step."""
    names, rounds = list(steps), []
    for number in range(config.rounds):
        seconds = {}
        for index in range(len(names)):
            name = names[(index + number) % len(names)]
            peak = _peak_flops(config)
            wall, cpu = time.perf_counter(), time.process_time()
            steps[name].run()
            _wait(config)
            seconds[name] = (time.perf_counter() - wall, time.process_time() - cpu, peak)
        rounds.append(seconds)
    return rounds


def _peak_flops(config: Steps) -> float:
    """Return the peak of the GPU, or the rate of large matrix products per processor second."""
    if config.device == "cuda":
        gpu = gpu_of(torch.cuda.get_device_name())
        found = None if gpu is None else gpu.peak_flops(config.precision)
        return float("nan") if found is None else found
    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
    one, other = torch.randn(1568, 1536, dtype=dtype), torch.randn(1536, 1536, dtype=dtype)
    best = float("inf")
    for _ in range(4):
        began = time.process_time()
        one @ other
        best = min(best, time.process_time() - began)
    return 2 * 1568 * 1536**2 / best


def _print_times(
    rounds: Sequence[dict[str, tuple[float, float, float]]], flops: float, config: Steps
) -> None:
    clock = 0 if config.device == "cuda" else 1
    for name in rounds[0]:
        wall, cpu = (statistics.median(row[name][i] for row in rounds) for i in (0, 1))
        share = statistics.median(flops / row[name][clock] / row[name][2] for row in rounds)
        print(f"{name}: wall {wall:.2f} s, processor {cpu:.2f} s, share of products {share:.1%}")
    pairs = [(_THEIRS, _OURS)] + [(_OURS, _COMPILED)] * (_COMPILED in rounds[0])
    for one, other in pairs:
        for what, index in (("wall", 0), ("processor", 1)):
            ratios = sorted(row[one][index] / row[other][index] for row in rounds)
            middle, low, high = statistics.median(ratios), ratios[0], ratios[-1]
            print(f"{one} / {other}, {what}: {middle:.3f} ({low:.3f} to {high:.3f})")


def _print_phases(name: str, step: Step, config: Steps) -> None:
    """Print the median processor time of each phase; on a GPU, wall time with waits between."""
    clock = time.perf_counter if config.device == "cuda" else time.process_time
    by_phase: dict[str, list[float]] = {}
    for _ in range(3):
        seconds: Counter[str] = Counter()

        def timed(phase: str, work: Callable[[], Any], seconds: Counter[str] = seconds) -> Any:
            _wait(config)
            began = clock()
            result = work()
            _wait(config)
            seconds[phase] += clock() - began
            return result

        step.run(timed)
        for phase, value in seconds.items():
            by_phase.setdefault(phase, []).append(value)
    phases = {phase: statistics.median(values) for phase, values in by_phase.items()}
    print(f"{name}: " + ", ".join(f"{phase} {1e3 * s:.0f} ms" for phase, s in phases.items()))


def _launches(step: Step, case: Case, config: Steps) -> int | str:
    """Return the kernels of a step on a GPU; on a CPU, the operations that call no other one.

    The compiled kernels of a CPU record no event, so they cannot be counted.
    """
    if case.compiled and config.device == "cpu":
        return "not counted"
    kinds = [ProfilerActivity.CPU]
    if config.device == "cuda":
        kinds.append(ProfilerActivity.CUDA)
    with profile(activities=kinds, acc_events=True) as profiled:
        step.run()
        _wait(config)
    events = profiled.events() or []
    if config.device == "cuda":
        return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in events)
    return sum(not event.cpu_children and event.name.startswith("aten::") for event in events)


def _peak_bytes(name: str, case: Case, config: Steps) -> int:
    """Return the memory of three steps at most, beyond that of the imports, in a new process."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_in_process, (name, case, config.threads))


def _peak_in_process(name: str, case: Case, threads: int) -> int:
    torch.set_num_threads(threads)
    before = peak_bytes()
    step = _make(name, case)
    for _ in range(3):
        step.run()
    if case.device == "cuda":
        return torch.cuda.max_memory_allocated()
    return peak_bytes() - before


def _wait(config: Steps) -> None:
    if config.device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main(parse(Steps))
