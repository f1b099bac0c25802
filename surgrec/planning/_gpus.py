"""The GPUs that a plan knows by name."""

from collections.abc import Mapping
from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """What a plan needs to know of a GPU."""

    memory_gib: float
    """Memory that CUDA reports, GiB; it is less than the name of the product says."""
    bf16_tflops: float | None
    """Peak of dense bf16 matrix products with float32 sums, TFLOP/s; None: no bf16."""
    fp32_tflops: float
    """Peak of float32 without tensor cores, TFLOP/s: PyTorch's default for float32."""

    def peak_flops(self, precision: str) -> float | None:
        """Return the peak of a run's precision, FLOP/s; None if the GPU does not have it."""
        tflops = self.bf16_tflops if precision == "bf16" else self.fp32_tflops
        return None if tflops is None else tflops * 1e12

    @property
    def usable_bytes(self) -> int:
        """Memory that the tensors of a run may take, bytes."""
        whole = self.memory_gib * GIB
        return int(whole * (1 - _FRAGMENTED) - _CONTEXT_BYTES)


_CONTEXT_BYTES = 3 * GIB // 2
"""CUDA context, workspaces of cuBLAS and buffers of NCCL: between 0.7 and 1.5 GiB."""
_FRAGMENTED = 0.05
"""Share of the memory that PyTorch's allocator holds in pieces that fit no tensor."""

# Memory: total_memory of torch.cuda.get_device_properties, rounded down. Peaks: NVIDIA's data
# sheets of H100, H200, A100, L40S and V100, and its white papers on the architectures of GA102
# (3090) and AD102 (4090). All are the SXM forms without sparsity; PCIe forms of H100 reach less.
GPUS: Mapping[str, Gpu] = {
    "h200-141": Gpu(memory_gib=139.7, bf16_tflops=989.0, fp32_tflops=67.0),
    "h100-80": Gpu(memory_gib=79.0, bf16_tflops=989.0, fp32_tflops=67.0),
    "a100-80": Gpu(memory_gib=79.0, bf16_tflops=312.0, fp32_tflops=19.5),
    "a100-40": Gpu(memory_gib=39.4, bf16_tflops=312.0, fp32_tflops=19.5),
    "l40s-48": Gpu(memory_gib=44.4, bf16_tflops=362.0, fp32_tflops=91.6),
    "4090-24": Gpu(memory_gib=23.5, bf16_tflops=165.2, fp32_tflops=82.6),
    "3090-24": Gpu(memory_gib=23.5, bf16_tflops=71.0, fp32_tflops=35.6),
    "v100-32": Gpu(memory_gib=31.7, bf16_tflops=None, fp32_tflops=15.7),
}
"""GPUs by name and nominal memory, gigabytes."""
