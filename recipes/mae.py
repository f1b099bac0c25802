"""SurgRec-MAE: reconstruct the pixels of hidden tubelets from the visible tenth.

    accelerate launch recipes/mae.py --config mae_vitb16 --corpus s3://bucket/corpus --run_dir runs/a
    accelerate launch --cpu recipes/mae.py --config mae_tiny --corpus CORPUS --run_dir runs/tiny
    ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 recipes/mae.py --config ... # two processes without a GPU

A run that was killed continues with the same command and `--resume true`, on any number of processes that divides the batch.
Method: VideoMAE (Tong et al. 2022, arXiv:2203.12602) and VideoMAE v2 (Wang et al. 2023, arXiv:2303.16727).
"""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from einops import reduce

from surgrec.cli import parse, run_main
from surgrec.clips import AugmentConfig, clip_batches, loader_failures_explained, to_model_input
from surgrec.errors import ConfigError
from surgrec.models import ENCODER_FILE, ENCODER_SIZES, Encoder, save_encoder
from surgrec.objectives import MaeObjective, MaeObjectiveConfig, mae_masks
from surgrec.runs import provenance, record_start, run_identity
from surgrec.training import (
    Checkpoints,
    OptimizerConfig,
    RunConfig,
    RunLog,
    ScheduleConfig,
    StopRequest,
    TrainingState,
    build_optimizer,
    clip_gradients,
    collapse_diagnostics,
    initial_weights,
    open_data,
    progress_bar,
    set_step,
    start_accelerator,
    start_run,
)

# VideoMAE's published values; recipes/configs/mae_vitb16.yaml says where each comes from, and what is known of SurgRec-MAE.
VIDEOMAE_VIEW = AugmentConfig(crop="multi_scale", flip=0.0)
VIDEOMAE_OPTIMIZER = OptimizerConfig(
    lr=ScheduleConfig(
        value=1.2e-3, start=0.0, warmup_steps=4700, decay="cosine", end=8e-5, end_step=94_000
    ),
    weight_decay=ScheduleConfig(value=0.05),
    betas=(0.9, 0.95),
)

CONFIGS = Path(__file__).with_name("configs")


@dataclass(frozen=True, kw_only=True)
class MaeConfig(RunConfig):
    """An MAE pretraining run. Defaults are VideoMAE's for ViT-B."""

    objective: MaeObjectiveConfig = MaeObjectiveConfig()
    """Mask ratio and decoder."""
    views: int = 1
    """Clips of each sample: views and masks of the same decoded moments (VideoMAE v2's repeated augmentation)."""
    sampling_fps: float = 7.5
    augment: AugmentConfig = VIDEOMAE_VIEW
    optimizer: OptimizerConfig = VIDEOMAE_OPTIMIZER
    global_batch: int = 2048
    steps: int = 94_000
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.views < 1:
            raise ConfigError(f"views is {self.views}; give at least 1")


def main(config: MaeConfig) -> None:
    """Trains until `steps`, or until it is asked to stop."""
    accelerator = start_accelerator(config.precision)
    checkpoints = Checkpoints(config.run_dir, config.keep_checkpoints)
    first_step = start_run(accelerator, checkpoints, resume=config.resume)

    # Data: every random choice is keyed by the seed and the position, so there is no state of it to restore.
    data = open_data(config, accelerator, first_step, views=config.views)

    # Model: encoder and decoder are trained together.
    torch.manual_seed(config.seed)
    encoder = Encoder(config.encoder)
    objective = MaeObjective(encoder, config.objective).to(accelerator.device)
    init_from = initial_weights(
        config.init_from,
        objective,
        checkpoints,
        first_step,
        show=accelerator.is_main_process,
        format=config.init_format,
        license=config.init_license,
    )
    optimizer = build_optimizer(objective, config.optimizer)

    # Resume: everything, or an error.
    identity = partial(run_identity, "mae", data.stream, config, init_from)
    state = TrainingState(
        modules={"objective": objective}, optimizer=optimizer, trained=objective, identity=identity
    )
    if first_step:
        checkpoints.load(first_step, state)
    if accelerator.is_main_process:
        record_start(
            config, data.stream, first_step=first_step, processes=accelerator.num_processes
        )
    # Never the loader: its batches are this rank's already.
    model, optimizer = accelerator.prepare(objective, optimizer)
    log = RunLog(run_dir=config.run_dir, accelerator=accelerator, config=config.log)
    log.resume_at(first_step)
    stop = StopRequest(config.run_dir)

    batches = clip_batches(data.dataset, data.sampler, pin_memory=accelerator.device.type == "cuda")
    with loader_failures_explained():
        for step in progress_bar(accelerator, first_step, config.steps, log):
            began = time.perf_counter()
            batch = next(batches)
            data_wait_s = time.perf_counter() - began

            clips = to_model_input(batch, config.encoder.crop_px, accelerator.device)
            masks = mae_masks(
                config.objective,
                config.encoder.grid,
                seed=config.seed,
                positions=batch.positions,
                views=config.views,
            )
            set_step(optimizer, config.optimizer, step)
            with accelerator.autocast():
                losses = model(clips, masks)
            accelerator.backward(losses["loss"])
            gradient_norm = clip_gradients(objective, config.optimizer, step)
            optimizer.step()
            optimizer.zero_grad()

            log.add(
                step,
                batch,
                reduce(losses["loss_per_sample"], "(b views) -> b", "mean", views=config.views),
                flops=objective.flops(masks),
                began=began,
                data_wait_s=data_wait_s,
                values={"lr": optimizer.param_groups[0]["lr"], "gradient_norm": gradient_norm},
            )
            done = step + 1
            is_save_step = done % config.save_every == 0 or done == config.steps
            if (
                is_save_step or done % config.log.every == 0
            ):  # a collective: every rank comes here after the same step
                diagnostics = {"mean_baseline_loss": float(losses["mean_baseline_loss"])}
                if accelerator.is_main_process:
                    with torch.no_grad(), accelerator.autocast():
                        diagnostics |= collapse_diagnostics(encoder(clips[:8]))
                stopping = log.meet(stop=bool(stop), diagnostics=diagnostics)
                if is_save_step or stopping:
                    if accelerator.is_main_process:
                        checkpoints.save(done, state)
                        facts = provenance(
                            identity(done), data.stream, step=done, global_batch=config.global_batch
                        )
                        save_encoder(encoder, config.run_dir / ENCODER_FILE, facts)
                    accelerator.wait_for_everyone()
                if stopping:
                    stop.done()
                    break
    accelerator.end_training()


if __name__ == "__main__":
    config = parse(MaeConfig, configs=CONFIGS, presets={"encoder.size": ENCODER_SIZES})
    run_main(
        "mae", lambda: main(config), to_go_on="--resume true continues from the last checkpoint"
    )
