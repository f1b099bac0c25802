"""SurgRec-MAE: reconstruct the pixels of hidden tubelets from the visible tenth.

    surgrec plan --config mae_vitb16 --gpus 8 --gpu h100-80        # the flags that fit your GPUs
    accelerate launch --quiet --cpu recipes/mae.py --config mae_tiny --corpus CORPUS --run_dir RUN
    python -m surgrec.training.torchrun --nproc_per_node 8 recipes/mae.py --config mae_vitb16 \
        --corpus s3://b/corpus --run_dir runs/a                             # 8 GPUs of 80 GB
    accelerate launch --quiet -m surgrec.recipes.mae ...                    # after pip install

Without a GPU, set ACCELERATE_USE_CPU=true for several processes. On SIGTERM, all processes save.
Plain torchrun then ends with status 1, and so does `accelerate launch` with several processes;
`python -m surgrec.training.torchrun` ends with 143. After a kill, the same command with `--resume
true` continues the run, on any number of processes that divides the global batch. Method: VideoMAE
(Tong et al. 2022, arXiv:2203.12602) and VideoMAE v2 (Wang et al. 2023, arXiv:2303.16727).
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from einops import reduce

from surgrec.clips import AugmentConfig, to_model_input
from surgrec.models import Encoder
from surgrec.objectives import MaeObjective, MaeObjectiveConfig, mae_masks
from surgrec.ranges import Range
from surgrec.training import (
    OptimizerConfig,
    Run,
    RunConfig,
    ScheduleConfig,
    build_optimizer,
    clip_gradients,
    run_recipe,
    set_step,
)

# VideoMAE's published values. The head of mae_vitb16.yaml gives the source of each, and the known
# values of SurgRec-MAE.
VIDEOMAE_VIEW = AugmentConfig(crop="multi_scale", flip=0.0)
VIDEOMAE_LR = ScheduleConfig(
    value=1.2e-3, start=0.0, warmup_steps=4700, decay="cosine", end=8e-5, end_step=94_000
)
VIDEOMAE_OPTIMIZER = OptimizerConfig(
    lr=VIDEOMAE_LR, weight_decay=ScheduleConfig(value=0.05), betas=(0.9, 0.95)
)


@dataclass(frozen=True, kw_only=True)
class MaeConfig(RunConfig):
    """An MAE pretraining run. Defaults are VideoMAE's for ViT-B."""

    objective: MaeObjectiveConfig = MaeObjectiveConfig()
    """Mask ratio and decoder."""
    views: Annotated[int, Range(1, 256)] = 1
    """Clips per sample: views of the same decoded frames (VideoMAE v2's repeated augmentation)."""
    sampling_fps: float = 7.5
    augment: AugmentConfig = VIDEOMAE_VIEW
    optimizer: OptimizerConfig = VIDEOMAE_OPTIMIZER
    global_batch: int = 2048
    steps: int = 94_000
    seed: int = 0


def main(config: MaeConfig) -> None:
    """Train until `steps`, or until a stop is requested."""
    run = Run.start(config, recipe="mae")
    data = run.open_data(views=config.views)

    # Encoder and decoder are trained together.
    torch.manual_seed(config.seed)
    encoder = Encoder(config.encoder)
    objective = MaeObjective(encoder, config.objective).to(run.device)
    run.initialize(objective)
    optimizer = build_optimizer(objective, config.optimizer)
    model, optimizer = run.restore(objective, optimizer, encoder=encoder)

    for step, batch in run.steps(data):
        set_step(optimizer, config.optimizer, step)

        # Reconstruct the pixels of the hidden tubelets, one part after the other.
        loss_per_clip, flops = [], 0.0
        for part, share in run.parts(model, batch):
            clips = to_model_input(part, config.encoder.crop_px, run.device)
            masks = mae_masks(
                config.objective,
                config.encoder.grid,
                seed=config.seed,
                positions=part.positions,
                views=config.views,
            )
            with run.autocast():
                losses = model(clips, masks)
            run.backward(losses["loss"] * share)
            loss_per_clip.append(losses["loss_per_sample"])
            flops += objective.flops(masks)

        gradient_norm = clip_gradients(objective, config.optimizer, step)
        run.skip_unless_finite(gradient_norm)
        optimizer.step()
        optimizer.zero_grad()

        loss_per_sample = reduce(
            torch.cat(loss_per_clip), "(b views) -> b", "mean", views=config.views
        )
        run.record(step, batch, loss_per_sample, flops=flops, gradient_norm=gradient_norm)
        if run.is_sync_step(step):  # a collective: every rank comes here after the same step
            diagnostics = {}
            if run.is_diagnosis_step(step):
                with torch.no_grad(), run.autocast():  # on all ranks: weights may be sharded
                    run.note_features(encoder(clips[:8]))
                diagnostics = objective.diagnostics(losses, clips, masks) if run.is_main else {}
            run.sync(step, diagnostics=diagnostics)


if __name__ == "__main__":
    run_recipe(__file__, MaeConfig, main)
