"""SurgRec-MAE: reconstruct the pixels of hidden tubelets from the visible tenth.

    accelerate launch recipes/mae.py --config recipes/configs/mae_vitb16.yaml --corpus s3://bucket/corpus --run_dir runs/a
    accelerate launch --cpu recipes/mae.py --config recipes/configs/mae_tiny.yaml --corpus CORPUS --run_dir runs/tiny
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

from surgrec.cli import parse, with_errors_as_one_line
from surgrec.clips.augment import AugmentConfig, network_input
from surgrec.clips.loader import ClipDataset, LoaderConfig, StepSampler, clip_batches, loader_failures_explained
from surgrec.clips.sampling import ClipSampling
from surgrec.errors import ConfigError
from surgrec.models.encoder import Encoder, EncoderConfig
from surgrec.models.weights import ENCODER_FILE, save_encoder
from surgrec.objectives.flops import mae_flops
from surgrec.objectives.mae import MaeObjective, MaeObjectiveConfig, mae_masks
from surgrec.shards.corpus import open_corpus
from surgrec.stream.mixture import Mixture
from surgrec.stream.stream import Stream
from surgrec.training.checkpoint import Checkpoints, TrainingState
from surgrec.training.diagnostics import collapse_diagnostics
from surgrec.training.initialise import initial_weights
from surgrec.training.launch import Precision, StopRequest, start_accelerator, start_run
from surgrec.training.metrics import LogConfig, RunLog, progress_bar
from surgrec.training.optimizer import OptimizerConfig, build_optimizer, clip_gradients, set_step
from surgrec.training.plan import provenance, record_start, run_identity
from surgrec.training.schedule import ScheduleConfig

# VideoMAE's published values; recipes/configs/mae_vitb16.yaml says where each comes from, and what is known of SurgRec-MAE.
VIDEOMAE_VIEW = AugmentConfig(crop="multi_scale", flip=0.0)
VIDEOMAE_OPTIMIZER = OptimizerConfig(
    lr=ScheduleConfig(value=1.2e-3, start=0.0, warmup_steps=4700, decay="cosine", end=8e-5, end_step=94_000),
    weight_decay=ScheduleConfig(value=0.05),
    betas=(0.9, 0.95),
)


@dataclass(frozen=True, kw_only=True)
class MaeConfig:
    """An MAE pretraining run."""

    run_dir: Path
    """Receives config.yaml, metrics.jsonl, checkpoints and the encoder."""
    corpus: str | list[str]
    """One or several corpus roots: folders, or s3://bucket/prefix."""
    encoder: EncoderConfig
    """The encoder that is trained; its num_frames and crop_px are the network's input."""
    init_from: Path | None = None
    """Weights to start from: a run, an encoder file, or a foreign file that `surgrec import` reads; None for random ones."""
    mixture: Mixture = Mixture()
    """What is drawn, and in which proportions."""
    sampling_fps: float = 7.5
    """Frames per second of video in a training clip."""
    augment: AugmentConfig = VIDEOMAE_VIEW
    """Random view of each clip."""
    views: int = 1
    """Clips of each sample: views and masks of the same decoded moments (VideoMAE v2's repeated augmentation)."""
    objective: MaeObjectiveConfig = MaeObjectiveConfig()
    """Mask ratio and decoder."""
    optimizer: OptimizerConfig = VIDEOMAE_OPTIMIZER
    """AdamW and its schedules."""
    global_batch: int = 2048
    """Samples per step over all processes, each with its `views`."""
    steps: int = 94_000
    """Optimizer steps of the whole run."""
    seed: int = 0
    """Of weights, order, views and masks."""
    precision: Precision = "bf16"
    """Autocast of the forward passes."""
    loader: LoaderConfig = LoaderConfig()
    """How batches are read and decoded."""
    log: LogConfig = LogConfig()
    """What is logged."""
    save_every: int = 1000
    """Steps between two checkpoints."""
    keep_checkpoints: int = 3
    """Newest checkpoints that are kept."""
    resume: bool = False
    """Continue from the newest checkpoint of run_dir; needed where there is one."""

    def __post_init__(self) -> None:
        if min(self.global_batch, self.views, self.save_every, self.keep_checkpoints) < 1 or self.steps < 0:
            raise ConfigError("global_batch, views, save_every and keep_checkpoints must be 1 or more, steps 0 or more")


def main(config: MaeConfig) -> None:
    """Trains until `steps`, or until it is asked to stop."""
    accelerator = start_accelerator(config.precision)
    checkpoints = Checkpoints(config.run_dir, config.keep_checkpoints)
    first_step = start_run(accelerator, checkpoints, resume=config.resume)

    # Data: every random choice is keyed by the seed and the position, so there is no state of it to restore.
    corpora = [config.corpus] if isinstance(config.corpus, str) else config.corpus
    stream = Stream(open_corpus(corpora), config.mixture, config.seed)
    sampling = ClipSampling(num_frames=config.encoder.num_frames, fps=config.sampling_fps)
    stream.require_duration(sampling.span_s)
    stream.require_few_repeats(config.steps * config.global_batch)
    dataset = ClipDataset(stream, sampling, config.augment, config.loader, config.views)
    sampler = StepSampler(
        global_batch=config.global_batch,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        start_step=first_step,
        steps=config.steps,
    )

    # Model: encoder and decoder are trained together.
    torch.manual_seed(config.seed)
    encoder = Encoder(config.encoder)
    objective = MaeObjective(encoder, config.objective).to(accelerator.device)
    init_from = initial_weights(config.init_from, objective, checkpoints, first_step, show=accelerator.is_main_process)
    optimizer = build_optimizer(objective, config.optimizer)

    # Resume: everything, or an error.
    identity = partial(run_identity, "mae", stream, config, init_from)
    state = TrainingState(modules={"objective": objective}, optimizer=optimizer, trained=objective, identity=identity)
    if first_step:
        checkpoints.load(first_step, state)
    if accelerator.is_main_process:
        record_start(
            config.run_dir,
            config,
            stream,
            first_step=first_step,
            positions=config.steps * config.global_batch,
            processes=accelerator.num_processes,
        )
    # Never the loader: its batches are this rank's already.
    model, optimizer = accelerator.prepare(objective, optimizer)
    log = RunLog(run_dir=config.run_dir, accelerator=accelerator, config=config.log)
    log.resume_at(first_step)
    stop = StopRequest(config.run_dir)

    batches = clip_batches(dataset, sampler, pin_memory=accelerator.device.type == "cuda")
    with loader_failures_explained():
        for step in progress_bar(accelerator, first_step, config.steps, log):
            began = time.perf_counter()
            batch = next(batches)
            data_wait_s = time.perf_counter() - began

            clips = network_input(batch, config.encoder.crop_px, accelerator.device)
            masks = mae_masks(
                config.objective, config.encoder.grid, seed=config.seed, positions=batch.positions, views=config.views
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
                flops=mae_flops(config.encoder, config.objective.decoder, masks),
                began=began,
                data_wait_s=data_wait_s,
                values={"lr": optimizer.param_groups[0]["lr"], "gradient_norm": gradient_norm},
            )
            done = step + 1
            is_save_step = done % config.save_every == 0 or done == config.steps
            if is_save_step or done % config.log.every == 0:  # a collective: every rank comes here after the same step
                diagnostics = {"loss_of_mean": float(losses["loss_of_mean"])}
                if accelerator.is_main_process:
                    with torch.no_grad(), accelerator.autocast():
                        diagnostics |= collapse_diagnostics(encoder(clips[:8]))
                stopping = log.meet(stop=bool(stop), diagnostics=diagnostics)
                if is_save_step or stopping:
                    if accelerator.is_main_process:
                        checkpoints.save(done, state)
                        facts = provenance(identity(done), stream, step=done, global_batch=config.global_batch)
                        save_encoder(encoder, config.run_dir / ENCODER_FILE, facts)
                    accelerator.wait_for_everyone()
                if stopping:
                    stop.done()
                    break
    accelerator.end_training()


if __name__ == "__main__":
    config = parse(MaeConfig)
    with_errors_as_one_line("mae", lambda: main(config), to_go_on="--resume true continues from the last checkpoint")
