"""The GPUs that a plan and the log of a run know by name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """The facts about a GPU that a plan needs."""

    cuda_name: str
    """Regular expression that is found in the name that CUDA reports."""
    memory_gib: float
    """Memory that CUDA reports, GiB; it is less than the name of the product says."""
    bf16_tflops: float | None
    """Peak of dense bf16 matrix products with float32 sums, TFLOP/s; None: no bf16."""
    fp32_tflops: float
    """Peak of float32 without tensor cores, TFLOP/s: PyTorch's default for float32."""
    fp16_tflops: float | None = None
    """Peak of dense fp16 matrix products with float32 sums, TFLOP/s; None: that of bf16."""

    def peak_flops(self, precision: str) -> float | None:
        """Return the peak of a run's precision, FLOP/s; None if the GPU does not have it."""
        by_precision = {"bf16": self.bf16_tflops, "fp16": self.fp16_tflops or self.bf16_tflops}
        tflops = by_precision.get(precision, self.fp32_tflops)
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
# (3090, A40) and AD102 (4090). All are the SXM forms without sparsity, and an H100 of another form,
# which reaches less, is unknown.
GPUS: Mapping[str, Gpu] = {
    "h200-141": Gpu(cuda_name=r"\bH200\b", memory_gib=139.7, bf16_tflops=989.0, fp32_tflops=67.0),
    "h100-80": Gpu(
        cuda_name=r"\bH100 80GB HBM3\b", memory_gib=79.0, bf16_tflops=989.0, fp32_tflops=67.0
    ),
    "a100-80": Gpu(
        cuda_name=r"\bA100\b.*\b80GB\b", memory_gib=79.0, bf16_tflops=312.0, fp32_tflops=19.5
    ),
    "a100-40": Gpu(
        cuda_name=r"\bA100\b.*\b40GB\b", memory_gib=39.4, bf16_tflops=312.0, fp32_tflops=19.5
    ),
    "l40s-48": Gpu(cuda_name=r"\bL40S\b", memory_gib=44.4, bf16_tflops=362.0, fp32_tflops=91.6),
    "a40-48": Gpu(cuda_name=r"\bA40\b", memory_gib=44.3, bf16_tflops=149.7, fp32_tflops=37.4),
    "4090-24": Gpu(cuda_name=r"\bRTX 4090$", memory_gib=23.5, bf16_tflops=165.2, fp32_tflops=82.6),
    "3090-24": Gpu(cuda_name=r"\bRTX 3090$", memory_gib=23.5, bf16_tflops=71.0, fp32_tflops=35.6),
    "v100-32": Gpu(
        cuda_name=r"\bV100\b.*\b32GB\b",
        memory_gib=31.7,
        bf16_tflops=None,
        fp32_tflops=15.7,
        fp16_tflops=125.0,
    ),
}
"""GPUs by name and nominal memory, gigabytes."""


def gpu_of(cuda_name: str) -> Gpu | None:
    """Return the GPU of a name that CUDA reports; None if it is unknown."""
    return next((gpu for gpu in GPUS.values() if re.search(gpu.cuda_name, cuda_name)), None)
