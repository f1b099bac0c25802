"""SurgRec-JEPA: predict the features of hidden tubelets from the visible ones.

    accelerate launch recipes/jepa.py --config jepa_vitl16 --corpus s3://bucket/corpus --run_dir runs/a
    accelerate launch --cpu recipes/jepa.py --config jepa_tiny --corpus CORPUS --run_dir runs/tiny
    ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 recipes/jepa.py --config ... # two processes without a GPU

A run that was killed continues with the same command and `--resume true`, on any number of processes that divides the batch.
Method: V-JEPA (Bardes et al. 2024, arXiv:2404.08471), V-JEPA 2 (Assran et al. 2025, arXiv:2506.09985) and 2.1.
"""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from surgrec.cli import parse, run_main
from surgrec.clips import AugmentConfig, clip_batches, loader_failures_explained, to_model_input
from surgrec.models import ENCODER_FILE, ENCODER_SIZES, Encoder, save_encoder
from surgrec.objectives import (
    JepaObjective,
    JepaObjectiveConfig,
    jepa_masks,
    target_features,
)
from surgrec.runs import provenance, record_start, run_identity
from surgrec.training import (
    VJEPA2_MOMENTUM,
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
    ema_copy,
    initial_weights,
    open_data,
    progress_bar,
    schedule_value,
    set_step,
    start_accelerator,
    start_run,
    update_ema,
)

CONFIGS = Path(__file__).with_name("configs")


@dataclass(frozen=True, kw_only=True)
class JepaConfig(RunConfig):
    """A JEPA pretraining run. Defaults are V-JEPA 2's."""

    objective: JepaObjectiveConfig = JepaObjectiveConfig()
    """Masks and predictor."""
    momentum: ScheduleConfig = VJEPA2_MOMENTUM
    """Of the target encoder's moving average."""
    sampling_fps: float = 4.0
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    global_batch: int = 3072
    steps: int = 90_000
    seed: int = 239


def main(config: JepaConfig) -> None:
    """Trains until `steps`, or until it is asked to stop."""
    accelerator = start_accelerator(config.precision)
    checkpoints = Checkpoints(config.run_dir, config.keep_checkpoints)
    first_step = start_run(accelerator, checkpoints, resume=config.resume)

    # Data: every random choice is keyed by the seed and the position, so there is no state of it to restore.
    data = open_data(config, accelerator, first_step)

    # Model: the context encoder and predictor are trained; the target encoder follows the context encoder.
    torch.manual_seed(config.seed)
    encoder = Encoder(config.encoder)
    objective = JepaObjective(encoder, config.objective).to(accelerator.device)
    init_from = initial_weights(
        config.init_from,
        objective,
        checkpoints,
        first_step,
        show=accelerator.is_main_process,
        format=config.init_format,
        license=config.init_license,
    )
    target = ema_copy(encoder)
    optimizer = build_optimizer(objective, config.optimizer)

    # Resume: everything, or an error.
    identity = partial(run_identity, "jepa", data.stream, config, init_from)
    modules = {"objective": objective, "target_encoder": target}
    state = TrainingState(
        modules=modules, optimizer=optimizer, trained=objective, identity=identity
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
            masks = jepa_masks(
                config.objective, config.encoder.grid, seed=config.seed, positions=batch.positions
            )
            set_step(optimizer, config.optimizer, step)
            with accelerator.autocast():
                targets = target_features(target, clips)
                losses = model(clips, targets, masks, step)
            accelerator.backward(losses["loss"])
            gradient_norm = clip_gradients(objective, config.optimizer, step)
            optimizer.step()
            optimizer.zero_grad()
            momentum = schedule_value(config.momentum, step)
            update_ema(target, encoder, momentum)

            log.add(
                step,
                batch,
                losses["loss_per_sample"],
                flops=objective.flops(masks),
                began=began,
                data_wait_s=data_wait_s,
                values={
                    "lr": optimizer.param_groups[0]["lr"],
                    "momentum": momentum,
                    "gradient_norm": gradient_norm,
                },
            )
            done = step + 1
            is_save_step = done % config.save_every == 0 or done == config.steps
            if (
                is_save_step or done % config.log.every == 0
            ):  # a collective: every rank comes here after the same step
                diagnostics = collapse_diagnostics(targets) if accelerator.is_main_process else {}
                stopping = log.meet(stop=bool(stop), diagnostics=diagnostics)
                if is_save_step or stopping:
                    if accelerator.is_main_process:
                        checkpoints.save(done, state)
                        facts = provenance(
                            identity(done), data.stream, step=done, global_batch=config.global_batch
                        )
                        save_encoder(target, config.run_dir / ENCODER_FILE, facts)
                    accelerator.wait_for_everyone()
                if stopping:
                    stop.done()
                    break
    accelerator.end_training()


if __name__ == "__main__":
    config = parse(JepaConfig, configs=CONFIGS, presets={"encoder.size": ENCODER_SIZES})
    run_main(
        "jepa", lambda: main(config), to_go_on="--resume true continues from the last checkpoint"
    )
