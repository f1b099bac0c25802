"""Rename tensors between SurgRec and a format."""

import pytest
import torch

from surgrec.convert._key_map import num_blocks, to_surgrec
from surgrec.errors import CheckpointError


def test_a_block_number_far_above_the_count_is_ignored() -> None:
    names = [f"blocks.{number}.norm1.weight" for number in range(12)]
    assert num_blocks(names, "blocks.") == 12
    names_without_1 = ["blocks.0.norm1.weight", "blocks.2.norm1.weight"]
    assert num_blocks(names_without_1, "blocks.") == 3, "the missing block is then named"
    assert num_blocks([*names, "blocks.20000000.norm1.weight"], "blocks.") < 30
    assert num_blocks([], "blocks.") == 0


def test_parts_of_one_tensor_with_different_types_are_refused() -> None:
    parts = {"q": torch.zeros(2), "v": torch.zeros(2, dtype=torch.float16)}
    with pytest.raises(
        CheckpointError,
        match=r"vit\.pt: q and v are parts of one tensor .* types, .*float16, .*float32",
    ):
        to_surgrec(parts, ["attn.qkv.bias"], {"attn.qkv.bias": ("q", None, "v")}, "vit.pt")
