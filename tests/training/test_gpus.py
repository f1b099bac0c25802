"""The table of GPUs: each device of CUDA has one entry at most, of the right form."""

import re

import pytest

from surgrec.training.gpus import GPUS, gpu_of

NAMES = {
    "NVIDIA H200": "h200-141",
    "NVIDIA H100 80GB HBM3": "h100-80",
    "NVIDIA A100-SXM4-80GB": "a100-80",
    "NVIDIA A100 80GB PCIe": "a100-80",
    "NVIDIA A100-SXM4-40GB": "a100-40",
    "NVIDIA A100-PCIE-40GB": "a100-40",
    "NVIDIA L40S": "l40s-48",
    "NVIDIA A40": "a40-48",
    "NVIDIA GeForce RTX 4090": "4090-24",
    "NVIDIA GeForce RTX 3090": "3090-24",
    "Tesla V100-SXM2-32GB": "v100-32",
}
"""Names that CUDA reports."""


def test_every_gpu_of_a_plan_is_known_by_the_name_of_its_device() -> None:
    assert set(NAMES.values()) == GPUS.keys()
    for name, key in NAMES.items():
        assert [each for each, gpu in GPUS.items() if re.search(gpu.cuda_name, name)] == [key]
        assert gpu_of(name) is GPUS[key]


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA H100 PCIe",
        "NVIDIA GeForce RTX 3090 Ti",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA L40",
        "NVIDIA A10",
        "Tesla V100-SXM2-16GB",
    ],
)
def test_another_form_of_a_gpu_is_unknown(name: str) -> None:
    assert gpu_of(name) is None
