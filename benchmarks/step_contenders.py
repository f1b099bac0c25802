"""The training steps of `step.py`: SurgRec's, and the same composed of Hugging Face's modules."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from einops import rearrange
from torch import Tensor, nn

from surgrec.convert.hf_videomae import hf_videomae_state
from surgrec.convert.hf_vjepa2 import hf_vjepa2_state
from surgrec.masks import GroupMasks, Masks
from surgrec.models import ENCODER_SIZES, DecoderConfig, Encoder, EncoderConfig
from surgrec.models.blocks import compile_blocks
from surgrec.models.encoder import SizeName
from surgrec.models.tokens import ids_on_device, take_tokens
from surgrec.objectives import (
    JepaObjective,
    JepaObjectiveConfig,
    MaeObjective,
    MaeObjectiveConfig,
    jepa_masks,
    mae_masks,
    target_features,
)
from surgrec.training import OptimizerConfig, build_optimizer, clip_gradients, ema_copy, update_ema

MOMENTUM = 0.99925
Timed = Callable[[str, Callable[[], Any]], Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A step to measure."""

    method: Literal["jepa", "mae"]
    size: SizeName
    clips: int
    crop_px: int
    device: str
    precision: Literal["no", "bf16"]
    compiled: bool

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of the forward passes."""
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def frames(self) -> Tensor:
        """Return the clips of every step."""
        generator = torch.Generator().manual_seed(0)
        shape = (self.clips, 3, 16, self.crop_px, self.crop_px)
        return torch.randn(shape, generator=generator).to(self.device)


class Step(Protocol):
    """A step of one method."""

    flops: float
    """Operations of the step's matrix products."""

    def run(self, timed: Timed = ...) -> Tensor:
        """Run a step and return its loss; `timed` runs and measures each phase."""


def untimed(phase: str, work: Callable[[], Any]) -> Any:
    """Run a phase without a measurement."""
    return work()


@dataclass(kw_only=True)
class _Update:
    """What all steps do after their forward passes."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    config: OptimizerConfig = field(default_factory=OptimizerConfig)

    @classmethod
    def of(cls, model: nn.Module) -> "_Update":
        return cls(model=model, optimizer=build_optimizer(model, OptimizerConfig()))

    def run(self, loss: Tensor, timed: Timed) -> None:
        timed("backward", loss.backward)

        def update() -> None:
            clip_gradients(self.model, self.config, step=0)
            self.optimizer.step()
            self.optimizer.zero_grad()

        timed("optimizer", update)


def _jepa(case: Case) -> tuple[JepaObjective, Encoder, list[GroupMasks]]:
    torch.manual_seed(0)
    size = ENCODER_SIZES[case.size]
    encoder = Encoder(EncoderConfig(**size, num_frames=16, crop_px=case.crop_px))
    config = JepaObjectiveConfig(mask_group=case.clips)
    objective = JepaObjective(encoder, config).to(case.device)
    masks = jepa_masks(config, encoder.config.grid, seed=0, positions=np.arange(case.clips))
    return objective, ema_copy(encoder), masks


class JepaStep:
    """SurgRec's objective, optimizer and EMA, as in the recipe, on clips of the input's size."""

    def __init__(self, case: Case) -> None:
        self.case, self.clips = case, case.frames()
        self.objective, self.target, self.masks = _jepa(case)
        self.flops = self.objective.flops(self.masks)
        self.update = _Update.of(self.objective)
        if case.compiled:
            for module in (self.objective, self.target):
                compile_blocks(module, fixed_shapes=True)

    def run(self, timed: Timed = untimed) -> Tensor:
        """Run a step and return its loss."""
        encoder, predictor = self.objective.encoder, self.objective.predictor
        with (
            self.case.autocast(),
            _TimedMethods(timed, encoder, predictor, ("embed", "encode_levels")),
        ):
            targets = timed("target", lambda: target_features(self.target, self.clips))
            losses = self.objective(self.clips, targets, self.masks)
        self.update.run(losses["loss"], timed)
        timed("EMA", lambda: update_ema(self.target, encoder, MOMENTUM))
        return losses["loss"].detach()


class _TimedMethods:
    """Let the calls of encoder and head inside an objective be phases."""

    def __init__(
        self, timed: Timed, encoder: nn.Module, head: nn.Module, methods: tuple[str, ...]
    ) -> None:
        self.timed = timed
        self.methods = [(encoder, method, "context") for method in methods]
        self.methods += [(head, "forward", "head")]

    def __enter__(self) -> None:
        for module, name, phase in self.methods:
            setattr(module, name, self._wrapped(getattr(module, name), phase))

    def __exit__(self, *error: object) -> None:
        for module, name, _ in self.methods:
            delattr(module, name)

    def _wrapped(self, method: Callable[..., Any], phase: str) -> Callable[..., Any]:
        return lambda *inputs: self.timed(phase, lambda: method(*inputs))


class HuggingFaceJepaStep:
    """The same of Hugging Face's V-JEPA 2: visible tokens only, and no sorting of tokens."""

    def __init__(self, case: Case) -> None:
        self.case, self.clips = case, rearrange(case.frames(), "b c t h w -> b t c h w")
        ours, _, self.masks = _jepa(case)
        self.flops = ours.flops(self.masks)

        # Build transformers' model of the same sizes, and give it our weights.
        encoder, predictor = ours.encoder.config, ours.predictor.config
        config = transformers.VJEPA2Config(
            crop_size=encoder.crop_px,
            frames_per_clip=encoder.num_frames,
            hidden_size=encoder.width,
            num_attention_heads=encoder.num_heads,
            num_hidden_layers=encoder.depth,
            mlp_ratio=encoder.mlp_ratio,
            pred_hidden_size=predictor.width,
            pred_num_attention_heads=predictor.num_heads,
            pred_num_hidden_layers=predictor.depth,
            pred_mlp_ratio=predictor.mlp_ratio,
            pred_num_mask_tokens=1,
            attn_implementation="sdpa",
        )
        self.model = transformers.VJEPA2Model(config).to(case.device)
        state = hf_vjepa2_state(ours.encoder.state_dict(), ours.predictor.state_dict())
        self.model.load_state_dict(state)
        self.target = ema_copy(self.model.encoder)
        self.update = _Update.of(self.model)

        if case.compiled:
            for layers in (self.model.encoder, self.target, self.model.predictor):
                for layer in layers.layer:
                    layer.compile()

    def run(self, timed: Timed = untimed) -> Tensor:
        """Run a step and return its loss."""
        with self.case.autocast():
            targets = timed("target", self._targets)
            embedded = timed("context", lambda: self.model.encoder.embeddings(self.clips))
            losses = []

            # Predict the targets of each mask from its context.
            for mask in self.masks[0].masks:
                context_index, target_index = (
                    ids_on_device(ids, embedded.device)
                    for ids in (mask.context_index, mask.target_index)
                )
                context = timed("context", lambda c=context_index: self._context(embedded, c))
                predicted = timed(
                    "head",
                    lambda h=context, c=context_index, t=target_index: self._predicted(h, c, t),
                )
                expected = take_tokens(targets, target_index).float()
                expected = F.layer_norm(expected, expected.shape[-1:])
                losses.append((predicted.float() - expected).abs().mean())
            loss = torch.stack(losses).mean()

        self.update.run(loss, timed)
        timed("EMA", lambda: update_ema(self.target, self.model.encoder, MOMENTUM))
        return loss.detach()

    @torch.no_grad()
    def _targets(self) -> Tensor:
        return self.target(pixel_values_videos=self.clips).last_hidden_state

    def _context(self, embedded: Tensor, index: Tensor) -> Tensor:
        hidden = take_tokens(embedded, index)
        for layer in self.model.encoder.layer:
            hidden = layer(hidden, index)[0]
        return self.model.encoder.layernorm(hidden)

    def _predicted(self, context: Tensor, context_index: Tensor, target_index: Tensor) -> Tensor:
        predictor = self.model.predictor
        hidden, positions = predictor.embeddings(
            context, [context_index], [target_index], mask_index=0
        )
        for layer in predictor.layer:
            hidden = layer(hidden, positions)[0]
        return predictor.proj(predictor.layernorm(hidden[:, context_index.shape[1] :]))


def _mae(case: Case) -> tuple[MaeObjective, Masks]:
    torch.manual_seed(0)
    size = ENCODER_SIZES[case.size]
    encoder = Encoder(
        EncoderConfig(**size, num_frames=16, crop_px=case.crop_px, positions="sincos")
    )
    config = MaeObjectiveConfig(decoder=DecoderConfig(width=size["width"] // 2))
    objective = MaeObjective(encoder, config).to(case.device)
    masks = mae_masks(config, encoder.config.grid, seed=0, positions=np.arange(case.clips))
    return objective, masks


class MaeStep:
    """SurgRec's, as in the recipe."""

    def __init__(self, case: Case) -> None:
        self.case, self.clips = case, case.frames()
        self.objective, self.masks = _mae(case)
        self.flops = self.objective.flops(self.masks)
        self.update = _Update.of(self.objective)
        if case.compiled:
            compile_blocks(self.objective, fixed_shapes=True)

    def run(self, timed: Timed = untimed) -> Tensor:
        """Run a step and return its loss."""
        encoder, decoder = self.objective.encoder, self.objective.decoder
        with self.case.autocast(), _TimedMethods(timed, encoder, decoder, ("forward",)):
            losses = self.objective(self.clips, self.masks)
        self.update.run(losses["loss"], timed)
        return losses["loss"].detach()


class HuggingFaceMaeStep:
    """`VideoMAEForPreTraining` as it is; its forward pass is one phase."""

    def __init__(self, case: Case) -> None:
        self.case, self.clips = (
            case,
            rearrange(case.frames(), "b c t h w -> b t c h w").contiguous(),
        )
        ours, masks = _mae(case)
        self.flops = ours.flops(masks)

        # Build transformers' model of the same sizes, and give it our weights.
        encoder, decoder = ours.encoder.config, ours.decoder.config
        config = transformers.VideoMAEConfig(
            image_size=encoder.crop_px,
            num_frames=encoder.num_frames,
            hidden_size=encoder.width,
            num_hidden_layers=encoder.depth,
            num_attention_heads=encoder.num_heads,
            intermediate_size=round(encoder.width * encoder.mlp_ratio),
            decoder_hidden_size=decoder.width,
            decoder_num_hidden_layers=decoder.depth,
            decoder_num_attention_heads=decoder.num_heads,
            decoder_intermediate_size=round(decoder.width * decoder.mlp_ratio),
            use_mean_pooling=False,
            layer_norm_eps=1e-6,
            attn_implementation="sdpa",
        )
        state = hf_videomae_state(ours.encoder.state_dict(), ours.decoder.state_dict())
        self.model = transformers.VideoMAEForPreTraining.from_pretrained(
            None, config=config, state_dict=state
        ).to(case.device)
        self.model.train()

        # transformers takes the mask as one boolean per token.
        hidden = torch.zeros(case.clips, encoder.grid.num_tokens, dtype=torch.bool)
        hidden.scatter_(1, torch.from_numpy(masks.target_index), True)
        self.hidden = hidden.to(case.device)

        self.update = _Update.of(self.model)
        if case.compiled:
            for layers in (self.model.videomae.encoder.layer, self.model.decoder.decoder_layers):
                for layer in layers:
                    layer.compile()

    def run(self, timed: Timed = untimed) -> Tensor:
        """Run a step and return its loss."""
        with self.case.autocast():
            loss = timed("forward", lambda: self.model(self.clips, self.hidden).loss)
        self.update.run(loss, timed)
        return loss.detach()


CONTENDERS: dict[str, dict[str, Callable[[Case], Step]]] = {
    "jepa": {"surgrec": JepaStep, "Hugging Face": HuggingFaceJepaStep},
    "mae": {"surgrec": MaeStep, "Hugging Face": HuggingFaceMaeStep},
}
"""Steps by method and name."""
