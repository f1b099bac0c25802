"""SurgRec-JEPA: predict the features of hidden tubelets from the visible ones.

    accelerate launch recipes/jepa.py --config recipes/configs/jepa_vitl16.yaml --corpus s3://bucket/corpus --run_dir runs/a
    accelerate launch --cpu recipes/jepa.py --config recipes/configs/jepa_tiny.yaml --corpus CORPUS --run_dir runs/tiny
    ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 recipes/jepa.py --config ... # two processes without a GPU

A run that was killed continues with the same command and `--resume true`, on any number of processes that divides the batch.
Method: V-JEPA (Bardes et al. 2024, arXiv:2404.08471), V-JEPA 2 (Assran et al. 2025, arXiv:2506.09985) and 2.1.
"""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from surgrec.cli import parse, with_errors_as_one_line
from surgrec.clips.augment import AugmentConfig, network_input
from surgrec.clips.loader import ClipDataset, LoaderConfig, StepSampler, clip_batches, loader_failures_explained
from surgrec.clips.sampling import ClipSampling
from surgrec.errors import ConfigError
from surgrec.models.encoder import Encoder, EncoderConfig
from surgrec.models.weights import ENCODER_FILE, save_encoder
from surgrec.objectives.flops import jepa_flops
from surgrec.objectives.jepa import JepaObjective, JepaObjectiveConfig, jepa_masks, target_features
from surgrec.shards.corpus import open_corpus
from surgrec.stream.mixture import Mixture
from surgrec.stream.stream import Stream
from surgrec.training.checkpoint import Checkpoints, TrainingState
from surgrec.training.diagnostics import collapse_diagnostics
from surgrec.training.ema import VJEPA2_MOMENTUM, ema_copy, update_ema
from surgrec.training.initialise import initial_weights
from surgrec.training.launch import Precision, StopRequest, start_accelerator, start_run
from surgrec.training.metrics import LogConfig, RunLog, progress_bar
from surgrec.training.optimizer import OptimizerConfig, build_optimizer, clip_gradients, set_step
from surgrec.training.plan import provenance, record_start, run_identity
from surgrec.training.schedule import ScheduleConfig, schedule_value


@dataclass(frozen=True, kw_only=True)
class JepaConfig:
    """A JEPA pretraining run."""

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
    sampling_fps: float = 4.0
    """Frames per second of video in a training clip."""
    augment: AugmentConfig = AugmentConfig()
    """Random view of each clip."""
    objective: JepaObjectiveConfig = JepaObjectiveConfig()
    """Masks and predictor."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """AdamW and its schedules."""
    momentum: ScheduleConfig = VJEPA2_MOMENTUM
    """Of the target encoder's moving average."""
    global_batch: int = 3072
    """Samples per step over all processes; a clip of each."""
    steps: int = 90_000
    """Optimizer steps of the whole run."""
    seed: int = 239
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
        if min(self.global_batch, self.save_every, self.keep_checkpoints) < 1 or self.steps < 0:
            raise ConfigError("global_batch, save_every and keep_checkpoints must be at least 1, and steps at least 0")


def main(config: JepaConfig) -> None:
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
    dataset = ClipDataset(stream, sampling, config.augment, config.loader)
    sampler = StepSampler(
        global_batch=config.global_batch,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        start_step=first_step,
        steps=config.steps,
    )

    # Model: the context encoder and predictor are trained; the target encoder follows the context encoder.
    torch.manual_seed(config.seed)
    encoder = Encoder(config.encoder)
    objective = JepaObjective(encoder, config.objective).to(accelerator.device)
    init_from = initial_weights(config.init_from, objective, checkpoints, first_step, show=accelerator.is_main_process)
    target = ema_copy(encoder)
    optimizer = build_optimizer(objective, config.optimizer)

    # Resume: everything, or an error.
    identity = partial(run_identity, "jepa", stream, config, init_from)
    modules = {"objective": objective, "target_encoder": target}
    state = TrainingState(modules=modules, optimizer=optimizer, trained=objective, identity=identity)
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
            masks = jepa_masks(config.objective, config.encoder.grid, seed=config.seed, positions=batch.positions)
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
                flops=jepa_flops(config.encoder, config.objective.predictor, masks),
                began=began,
                data_wait_s=data_wait_s,
                values={"lr": optimizer.param_groups[0]["lr"], "momentum": momentum, "gradient_norm": gradient_norm},
            )
            done = step + 1
            is_save_step = done % config.save_every == 0 or done == config.steps
            if is_save_step or done % config.log.every == 0:  # a collective: every rank comes here after the same step
                diagnostics = collapse_diagnostics(targets) if accelerator.is_main_process else {}
                stopping = log.meet(stop=bool(stop), diagnostics=diagnostics)
                if is_save_step or stopping:
                    if accelerator.is_main_process:
                        checkpoints.save(done, state)
                        facts = provenance(identity(done), stream, step=done, global_batch=config.global_batch)
                        save_encoder(target, config.run_dir / ENCODER_FILE, facts)
                    accelerator.wait_for_everyone()
                if stopping:
                    stop.done()
                    break
    accelerator.end_training()


if __name__ == "__main__":
    config = parse(JepaConfig)
    with_errors_as_one_line("jepa", lambda: main(config), to_go_on="--resume true continues from the last checkpoint")
