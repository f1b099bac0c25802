"""A user's ONNX model as an encoder. docs/encoders.md is its interface."""

from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Float32
from torch import Tensor, nn

from surgrec.encoders import Preset
from surgrec.errors import CheckpointError
from surgrec.onnx_files import ModelFaultError, OnnxModel, read_model_file, shuffle_weights

_MOST_BYTES = (1 << 31) - 1
"""Largest model that ONNX stores in one file."""
_REMEDY = "export it again as docs/encoders.md says"
_LAYOUTS = {
    "n c t h w": "[n, 3, frames, height, width]",
    "n t c h w": "[n, frames, 3, height, width]",
    "n c h w": "[n, 3, height, width]",
}
"""Orders of the axes that an input may have; the last one is an image model's."""


class OnnxNetwork(nn.Module):
    """A user's model. It computes on one thread of the CPU, without gradients.

    Args:
        path: The file.
        preset: States the frames and pixels of the input.
        random_seed: Put the entries of each matrix into a random order from this seed.

    Raises:
        SetupError: ONNX Runtime is not installed.
        ConfigError: The file cannot be read.
        CheckpointError: It is not a model, or does not fit the interface.
    """

    blocks: tuple[nn.Module, ...] = ()
    """Unknown: the graph has no blocks."""

    def __init__(self, path: Path, preset: Preset, random_seed: int | None) -> None:
        super().__init__()
        self._path = path
        self._clip = (preset.num_frames, preset.preprocessing.size_px)
        data, _ = read_model_file(path, _MOST_BYTES, "--weights")
        try:
            self._model = OnnxModel(data, needed_by="an ONNX encoder", remedy=_REMEDY)
            if random_seed is not None:
                shuffled = shuffle_weights(data, random_seed)
                self._model = OnnxModel(shuffled, needed_by="an ONNX encoder", remedy=_REMEDY)
            self._layout = self._find_layout()
            self.width = self._try()
        except ModelFaultError as fault:
            raise CheckpointError(f"{path} {fault}") from None

    def forward(self, clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b n d"]:
        """Return the tokens of each clip; a model of one vector per clip or frame has one token.

        Raises:
            CheckpointError: The model fails.
        """
        values = rearrange(clips.detach().float().cpu(), f"n c t h w -> {self._packed()}")
        try:
            rows = self._run(values.numpy())
        except ModelFaultError as fault:
            raise CheckpointError(f"{self._path} {fault}") from None
        tokens = rearrange(rows, "(b t) n d -> b (t n) d", b=len(clips))
        return torch.from_numpy(tokens).to(clips.device)

    def _packed(self) -> str:
        """Return the axes of an input; those of an image model have the frames of all clips."""
        return "(n t) c h w" if self._layout == "n c h w" else self._layout

    def _run(self, values: Float32[np.ndarray, "b ..."]) -> Float32[np.ndarray, "b n d"]:
        """Return the tokens of inputs, in calls of the size that the model demands."""
        rows = len(values)
        fixed = self._model.shape[0]
        size = fixed if isinstance(fixed, int) else rows

        # Copies of the last row fill the last call.
        padded = np.concatenate([values, np.repeat(values[-1:], -rows % size, axis=0)])
        found = [
            self._model.run(np.ascontiguousarray(padded[first : first + size]))
            for first in range(0, len(padded), size)
        ]
        for each in found:
            if each.ndim not in (2, 3) or len(each) != size or not each.size:
                raise ModelFaultError(
                    f"gives an output of the shape {list(each.shape)} for {size} inputs, neither "
                    f"[n, width] nor [n, tokens, width]; {_REMEDY}"
                )
        output = np.concatenate(found)[:rows]
        return output.reshape(rows, -1, output.shape[-1])

    def _find_layout(self) -> str:
        """Return the order of the axes of the input."""
        frames, side = self._clip

        # An axis of free size fits any order.
        sizes = {"c": 3, "t": frames, "h": side, "w": side}
        shape = self._model.shape
        fitting = [
            layout
            for layout in _LAYOUTS
            if len(axes := layout.split()) == len(shape)
            and all(
                not isinstance(found, int) or found == sizes.get(axis, max(found, 1))
                for axis, found in zip(axes, shape, strict=True)
            )
        ]

        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise ModelFaultError(
                f"has an input of the shape {shape}, whose axis of colors cannot be told "
                f"apart from that of frames; export it with a fixed number of frames that is not 3"
            )
        raise ModelFaultError(
            f"has an input of the shape {shape}, but the preset states {frames} frames of {side} x "
            f"{side} pixels, so that it is {', '.join(_LAYOUTS.values())}; correct the preset, or "
            f"{_REMEDY}"
        )

    def _try(self) -> int:
        """Encode two random clips in both orders; return the width of a token."""
        frames, side = self._clip
        random = np.random.default_rng(0)
        clips = torch.from_numpy(random.standard_normal((2, 3, frames, side, side), np.float32))
        values = rearrange(clips, f"n c t h w -> {self._packed()}").numpy()
        first, second = self._run(values), self._run(values[::-1])[::-1]
        if not np.isfinite(first).all():
            raise ModelFaultError(f"gives NaN or infinite values for a random clip; {_REMEDY}")
        if np.abs(first - second).max() > 1e-3 * np.abs(first).max():
            raise ModelFaultError(
                "gives one clip two results, by chance or by the other clips of a call; export it "
                "in its evaluation mode"
            )
        return int(first.shape[-1])
