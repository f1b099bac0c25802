"""SurgRec-JEPA: predict the features of hidden tubelets from the visible ones.

    surgrec plan --config jepa_vitl16 --gpus 8 --gpu h100-80       # the flags that fit your GPUs
    accelerate launch --quiet --cpu recipes/jepa.py --config jepa_tiny --corpus CORPUS --run_dir RUN
    python -m surgrec.training.torchrun --nproc_per_node 8 recipes/jepa.py --config jepa_vitl16 \
        --accumulation 16 --corpus s3://b/corpus --run_dir runs/a            # 8 GPUs of 80 GB
    accelerate launch --quiet -m surgrec.recipes.jepa ...                    # after pip install

Without a GPU, set ACCELERATE_USE_CPU=true for several processes. On SIGTERM, all processes save.
Plain torchrun then ends with status 1, and so does `accelerate launch` with several processes;
`python -m surgrec.training.torchrun` ends with 143. After a kill, the same command with `--resume
true` continues the run, on any number of processes that divides the global batch. Method: V-JEPA
(Bardes et al. 2024, arXiv:2404.08471), V-JEPA 2 (Assran et al. 2025, arXiv:2506.09985) and V-JEPA
2.1.
"""

from dataclasses import dataclass
from typing import Annotated

import torch

from surgrec.clips import AugmentConfig, to_model_input
from surgrec.models import Encoder
from surgrec.objectives import (
    JepaObjective,
    JepaObjectiveConfig,
    jepa_masks,
    target_features,
)
from surgrec.ranges import Range
from surgrec.training import (
    OptimizerConfig,
    Run,
    RunConfig,
    ScheduleConfig,
    build_optimizer,
    clip_gradients,
    ema_copy,
    run_recipe,
    schedule_value,
    set_step,
    update_ema,
)


@dataclass(frozen=True, kw_only=True)
class JepaConfig(RunConfig):
    """A JEPA pretraining run. Defaults are V-JEPA 2's."""

    objective: JepaObjectiveConfig = JepaObjectiveConfig()
    """Masks and predictor."""
    momentum: Annotated[ScheduleConfig, Range(0, 1)] = ScheduleConfig(value=0.99925)
    """Momentum of the target encoder's moving average."""
    sampling_fps: float = 4.0
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    global_batch: int = 3072
    steps: int = 90_000
    seed: int = 239


def main(config: JepaConfig) -> None:
    """Train until `steps`, or until a stop is requested."""
    run = Run.start(config, recipe="jepa")
    data = run.open_data()

    # Context encoder and predictor are trained; the target encoder is the former's moving average.
    torch.manual_seed(config.seed)
    encoder = Encoder(config.encoder)
    objective = JepaObjective(encoder, config.objective).to(run.device)
    run.initialize(objective)
    target = ema_copy(encoder)
    optimizer = build_optimizer(objective, config.optimizer)
    model, optimizer = run.restore(objective, optimizer, encoder=target, target_encoder=target)

    for step, batch in run.steps(data):
        set_step(optimizer, config.optimizer, step)

        # Predict the target encoder's features of the hidden tubelets, one part after the other.
        loss_per_sample, flops = [], 0.0
        for part, share in run.parts(model, batch):
            clips = to_model_input(part, config.encoder.crop_px, run.device)
            masks = jepa_masks(
                config.objective, config.encoder.grid, seed=config.seed, positions=part.positions
            )
            with run.autocast():
                targets = target_features(target, clips)
                losses = model(clips, targets, masks, step)
            run.backward(losses["loss"] * share)
            if run.is_diagnosis_step(step):
                run.note_features(targets, parts=config.accumulation)
            loss_per_sample.append(losses["loss_per_sample"])
            flops += objective.flops(masks)

        gradient_norm = clip_gradients(objective, config.optimizer, step)
        applied = run.skip_unless_finite(gradient_norm)
        optimizer.step()
        optimizer.zero_grad()

        # Let the target encoder follow the context encoder.
        momentum = schedule_value(config.momentum, step)
        update_ema(target, encoder, momentum, applied)

        run.record(
            step,
            batch,
            torch.cat(loss_per_sample),
            flops=flops,
            momentum=momentum,
            gradient_norm=gradient_norm,
        )
        if run.is_sync_step(step):  # a collective: every rank comes here after the same step
            is_due = run.is_main and run.is_diagnosis_step(step)
            diagnostics = objective.diagnostics(targets, masks, step) if is_due else {}
            run.sync(step, diagnostics=diagnostics)


if __name__ == "__main__":
    run_recipe(__file__, JepaConfig, main)
