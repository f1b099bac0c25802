"""A run, as far as it is the same for every method: start, data, resume, log, save, stop.

The loop, the forward pass, the loss and the update are in the recipe. `Run` is not a Trainer: it
calls no method of the recipe.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from surgrec.clips import VIEWS_VERSION, ClipBatch, clip_batches
from surgrec.errors import CheckpointError, ConfigError
from surgrec.json_files import typed
from surgrec.masks import MASKS_VERSION
from surgrec.models import ENCODER_FILE, Encoder, save_encoder
from surgrec.models.blocks import checkpoint_activations, compile_blocks
from surgrec.models.encoder_file import write_encoder_file
from surgrec.models.provenance import RunIdentity
from surgrec.objectives import Objective
from surgrec.runs import record_start
from surgrec.runs.identity import (
    IdentityComparison,
    compare_identities,
    provenance,
    read_substitutes,
    run_identity,
)
from surgrec.stream import Stream
from surgrec.terminal import escape, say, warn
from surgrec.text import counted
from surgrec.training._checkpoint import (
    MOMENTS,
    Checkpoints,
    Snapshot,
    TrainingState,
    written_sha256,
)
from surgrec.training._data import RunData, open_data
from surgrec.training._diagnostics import DIAGNOSIS_EVERY, CollapseSigns, update_ratio
from surgrec.training._init_weights import initialize_weights
from surgrec.training._launch import start_accelerator, start_run
from surgrec.training._loss_scale import LossScale, cuda_capability, usable_precision
from surgrec.training._lost import encoder_step
from surgrec.training._metrics import RunLog, describe_row
from surgrec.training._monitor import Monitor
from surgrec.training._optimizer import skip_unless_finite
from surgrec.training._progress import progress_bar
from surgrec.training._ranks import note_progress, on_main
from surgrec.training._run_config import RunConfig
from surgrec.training._sharding import (
    is_sharded,
    place_moments,
    receive_weights,
    shard_training,
    without_exchange,
)
from surgrec.training._step_batch import StepBatch
from surgrec.training._trackers import require_tracker, start_tracker
from surgrec.training.session import Session


@dataclass(kw_only=True)
class Run(Session):
    """One start of a run on one rank. Call its methods in the order in which they are listed.

    Example:
        >>> run = Run.start(config, recipe="jepa")
        >>> data = run.open_data()
        >>> objective = JepaObjective(encoder, config.objective).to(run.device)
        >>> run.initialize(objective)
        >>> optimizer = build_optimizer(objective, config.optimizer)
        >>> model, optimizer = run.restore(objective, optimizer, encoder=encoder)
        >>> for step, batch in run.steps(data):
        ...     for part, share in run.parts(model, batch):
        ...         losses = model(...)
        ...         run.backward(losses["loss"] * share)
        ...     run.skip_unless_finite(clip_gradients(objective, config.optimizer, step))
        ...     optimizer.step()
        ...     run.record(step, batch, torch.cat(loss_per_sample), flops=flops)
        ...     if run.is_sync_step(step):
        ...         run.sync(step, diagnostics={})
    """

    config: RunConfig
    """The recipe's config."""
    recipe: str
    """Name of the recipe, part of the run's identity."""
    checkpoints: Checkpoints
    """Checkpoints in the run folder."""
    first_step: int
    """Step at which this start begins."""
    _log: RunLog
    _stream: Stream = field(init=False)
    _init_from: dict[str, Any] | None = field(init=False, default=None)
    _tuned: list[dict[str, Any]] = field(init=False, default_factory=list)
    _state: TrainingState = field(init=False)
    _encoder: Encoder = field(init=False)
    _signs: CollapseSigns = field(init=False)
    _monitor: Monitor = field(init=False)
    _stopped: bool = field(init=False, default=False)
    _began: float = field(init=False, default=0.0)
    _applied: Float[Tensor, ""] | None = field(init=False, default=None)
    _loss_scale: LossScale | None = field(init=False, default=None)

    @classmethod
    def start(cls, config: RunConfig, *, recipe: str) -> "Run":
        """Connect the ranks, lock the run folder and find the first step.

        Args:
            config: The recipe's config.
            recipe: Name of the recipe.

        Raises:
            SetupError: The processes do not see each other.
            ConfigError: The folder already contains a run and `resume` is false, or another
                process is training there.
            CheckpointError: The folder has traces of a checkpoint, but no checkpoint.
        """
        require_tracker(config.log.tracker)
        asked = config.precision
        config = replace(config, precision=usable_precision(asked, cuda_capability()))
        accelerator = start_accelerator(config.precision, longest_batch_s=config.loader.timeout_s)
        if config.precision != asked and accelerator.is_main_process:
            say(
                f"this GPU has no {asked}: the run computes in {config.precision}, and scales "
                "the loss"
            )
        checkpoints = Checkpoints(
            config.run_dir, config.keep_checkpoints, milestone_every=config.milestone_every
        )

        return cls(
            config=config,
            recipe=recipe,
            accelerator=accelerator,
            checkpoints=checkpoints,
            first_step=start_run(
                accelerator,
                checkpoints,
                resume=config.resume,
                first_save=min(config.save_every, config.steps),
            ),
            _log=RunLog(
                run_dir=config.run_dir,
                accelerator=accelerator,
                config=config.log,
                finish_save=checkpoints.finish_save,
            ),
        )

    def open_data(self, *, views: int = 1) -> RunData:
        """Return the data of this rank from the first step on; see `open_data` for the errors.

        Args:
            views: Clips per sample.
        """
        data = open_data(
            self.config,
            rank=self.accelerator.process_index,
            world_size=self.accelerator.num_processes,
            first_step=self.first_step,
            views=views,
        )

        self._stream = data.stream
        if self.is_main:
            for row in data.repeated:
                say(escape(f"frames repeat: {row}, sampled at {self.config.sampling_fps:g}"))
        return data

    def initialize(self, objective: Objective) -> None:
        """Load the weights of `init_from`, if it is given and the run is not resumed.

        Raises:
            CheckpointError: The file cannot be read, does not fit, or is not the file that the
                resumed run was started from.
        """
        self._init_from = initialize_weights(
            self.config.init_from,
            objective,
            self.checkpoints,
            self.first_step,
            show=self.is_main,
            format=self.config.init_format,
            license=self.config.init_license,
        )

    def restore(
        self,
        objective: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        encoder: Encoder,
        **others: nn.Module,
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Load the last checkpoint of a resumed run, record the start, and wrap for all ranks.

        A collective. If the encoder file is not of that checkpoint, it is written.

        Args:
            objective: The trained module.
            optimizer: Its optimizer.
            encoder: The encoder that the run produces.
            others: Further modules to save and restore, such as `target_encoder`.

        Returns:
            The objective, sharded or wrapped in DDP if there are several ranks, and the optimizer.

        Raises:
            CheckpointError: The checkpoint is damaged or belongs to a different run.
            StorageError: The disk is full.
        """
        self._encoder = encoder
        self._signs = CollapseSigns(
            width=encoder.config.width, num_ranks=self.accelerator.num_processes
        )
        if self.config.precision == "fp16":
            self._loss_scale = LossScale().to(self.device)
            others = {**others, "loss_scale": self._loss_scale}
        self._state = TrainingState(
            modules={"objective": objective, **others},
            optimizer=optimizer,
            trained=objective,
            identity=self._identity,
            differences=lambda saved, current: self._compare(saved, current).refused,
        )
        tuned: list[str] = []
        if self.first_step:
            on_main(self.accelerator, lambda: self.checkpoints.load(self.first_step, self._state))
            saved = on_main(self.accelerator, lambda: self.checkpoints.identity(self.first_step))
            tuned = self._take_over(saved)

        self._monitor = Monitor.open(
            self.config,
            self.accelerator,
            self._stream,
            write_best=self._write_best,
            log=self._log.track,
            is_stop_coming=self.is_stop_coming,
        )

        # Damaged logs of earlier steps refuse the start. From here on it may change files.
        on_main(self.accelerator, self._check_quarantine)
        self._log.resume_at(self.first_step)
        on_main(self.accelerator, lambda: self._record_start(tuned))
        self.listen_for_stop(self.config.run_dir)
        on_main(self.accelerator, self._complete_encoder)
        start_tracker(
            self.accelerator, self.config.log.tracker, self.config.run_dir, self.first_step
        )

        # Every rank measures clips of its own, so it needs the loaded weights before.
        checkpoint_activations(objective, self.config.activation_checkpointing)
        if self.config.compile:
            assert isinstance(objective, Objective), "only an objective knows its shapes"
            for module in self._state.modules.values():
                compile_blocks(module, fixed_shapes=objective.has_fixed_shapes)
        self._spread()
        self._monitor.begin(encoder, self.first_step, pretrained=self._init_from is not None)

        # Never prepare the loader: its batches already are one rank's.
        if is_sharded(objective):
            return objective, self.accelerator.prepare(optimizer)
        model, optimizer = self.accelerator.prepare(objective, optimizer)
        return model, optimizer

    def _spread(self) -> None:
        """Give the state of the main process to all ranks, which keep all of it or their shards."""
        optimizer, trained = self._state.optimizer, self._state.trained
        named = {name: part for name, part in trained.named_parameters() if part.requires_grad}
        moments = {
            name: optimizer.state.pop(parameter)
            for name, parameter in named.items()
            if parameter in optimizer.state
        }
        if self.accelerator.num_processes > 1:
            receive_weights(self._state.modules.values())
            if self.config.sharding == "full":
                shard_training(self._state.modules.values(), trained, optimizer)

        # A checkpoint from before the first step has none.
        if on_main(self.accelerator, lambda: bool(moments)):
            shards = dict(trained.named_parameters())
            place_moments(optimizer, {name: shards[name] for name in named}, moments, MOMENTS)

    def steps(self, data: RunData) -> Iterator[tuple[int, StepBatch]]:
        """Yield each step with this rank's batch, until the last step or until `sync` stops.

        Raises:
            ConfigError: A batch has fewer samples than parts.
            StorageError: A shard cannot be read, a worker died, or a batch took longer than the
                timeout.
            ShardError: A shard does not match its index, or a sample and all its substitutes are
                bad.
            TrainingError: The recipe has not taken all parts of a batch.
        """
        count, samples = self.config.accumulation, data.sampler.samples
        if count > samples:
            raise ConfigError(
                f"accumulation is {count}, but a process has {counted(samples, 'sample')} per step;"
                " give a smaller accumulation"
            )

        parts = clip_batches(
            data.dataset, data.sampler, pin_memory=self.device.type == "cuda", parts=count
        )
        for step in progress_bar(
            self.first_step,
            self.config.steps,
            lambda: self._log.last_row,
            describe_row,
            show=self.is_main,
        ):
            self._began = time.perf_counter()
            batch = StepBatch(parts, count, samples)
            yield step, batch
            batch.require_taken(step)
            note_progress()

            if self._stopped:
                self._tell_stopped(step + 1)
                break
        self.accelerator.end_training()

    def parts(self, model: nn.Module, batch: StepBatch) -> Iterator[tuple[ClipBatch, float]]:
        """Yield the parts of a rank's batch, one per pass, and their shares of the batch.

        A part arrives from the loader when it is asked for. Gradients of the parts add up, if each
        loss is multiplied by its share. The ranks exchange them in the last part.

        Args:
            model: The wrapped objective, from `restore`.
            batch: From `steps`.

        Raises:
            StorageError, ShardError: As `steps` does.
        """
        alone = without_exchange if is_sharded(model) else self.accelerator.no_sync
        for number, part in enumerate(batch, start=1):
            is_last = number == self.config.accumulation
            with nullcontext() if is_last else alone(model):
                yield part, len(part.keys) / batch.samples
        if self._loss_scale is not None:
            self._loss_scale.unscale(self._state.trained)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of a forward pass in the precision of the run."""
        if self.config.precision == "fp16":
            return torch.autocast(self.device.type, dtype=torch.float16)
        return super().autocast()

    def backward(self, loss: Float[Tensor, ""]) -> None:
        """Accumulate gradients, averaged over the ranks; in fp16, scaled up to the last part.

        A loss that is not finite makes the gradients of all ranks NaN.
        """
        # The gradient of an infinite loss may be finite: torch returns 0 for |NaN| and 1 for |inf|.
        scale = 1.0 if self._loss_scale is None else self._loss_scale.scale
        self.accelerator.backward(loss, gradient=scale * (1.0 + 0.0 * loss.detach()))

    def skip_unless_finite(self, gradient_norm: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Skip the update of this step if a loss or the gradient is not finite.

        All ranks have the same gradient, so they skip the same steps. None waits for its device.

        Args:
            gradient_norm: Norm of the gradient over all ranks, from `clip_gradients`.

        Returns:
            1 if the step is applied, 0 if it is skipped, for `update_ema`; on the device.
        """
        self._applied = skip_unless_finite(self._state.optimizer, gradient_norm)
        if self._loss_scale is not None:
            self._loss_scale.update(self._applied)
        return self._applied

    def record(
        self,
        step: int,
        batch: StepBatch,
        losses: Float[Tensor, " b"],
        *,
        flops: float,
        **values: float | Tensor,
    ) -> None:
        """Record a step of this rank for metrics.jsonl, without waiting for the device.

        Args:
            step: Number of the step.
            batch: The rank's batch.
            losses: Loss of each sample, on the device.
            flops: Floating-point operations of the step on this rank.
            values: Further columns, equal on every rank. The learning rate is always recorded.
        """
        lr = self._state.optimizer.param_groups[0]["lr"]
        self._log.add(
            step,
            batch.without_frames(),
            losses,
            flops=flops,
            began=self._began,
            data_wait_s=batch.wait_s,
            applied=self._applied,
            values={"lr": lr, **values},
        )

    def is_sync_step(self, step: int) -> bool:
        """Whether the ranks sync after this step; every rank asks after every step.

        They sync every `log.every` steps, at checkpoints, before a measurement of the encoder, and
        at the step at which they agreed to stop.
        """
        is_stop = self.stops_after(step)
        is_log_step = (step + 1) % self.config.log.every == 0
        return is_stop or is_log_step or self._is_save_step(step) or self._monitor.is_due(step + 1)

    def is_diagnosis_step(self, step: int) -> bool:
        """Whether this step, a sync step, is to have `note_features` and the objective's numbers.

        It is the last step, and every sync of the log from which the one before is separated by a
        multiple of `DIAGNOSIS_EVERY` steps.
        """
        done, every = step + 1, self.config.log.every
        is_due = done // DIAGNOSIS_EVERY > (done - every) // DIAGNOSIS_EVERY
        return done == self.config.steps or (done % every == 0 and is_due)

    def note_features(self, features: Float[Tensor, "b n e"], *, parts: int = 1) -> None:
        """Look for signs of collapse in features; the sync of the step writes them.

        Args:
            features: Output of the encoder (of a JEPA, the target encoder) for clips of this step,
                of as many clips on every rank. The first 8 count.
            parts: Calls in one step.
        """
        self._signs.note(features, parts=parts)

    def sync(self, step: int, *, diagnostics: dict[str, float]) -> None:
        """Write the log, agree whether to stop, and save if it is time or a stop was requested.

        A collective: every rank calls it after the same step. Only the last save, or that of a
        stop, is complete at the return; the error of another one is raised by the next sync.

        Args:
            step: Number of the step.
            diagnostics: Columns for the row of this step; the main process's are written.

        Raises:
            TrainingError: Too many steps were skipped, a weight is not finite, or a source has too
                many bad samples.
            StorageError: The disk is full.
        """
        diagnostics = {
            **diagnostics,
            **self._signs.take(self.accelerator.gather, compute=self.is_main),
            "update_ratio": float(update_ratio(self._state.optimizer)),
        }
        stop = self.is_asked_to_stop
        self._stopped = self._log.flush(stop=stop, diagnostics=diagnostics)

        on_main(self.accelerator, self.checkpoints.require_saved)
        if self._is_save_step(step) or self._stopped:
            self._save(step + 1)
        if self._monitor.watch(
            self._encoder, step + 1, self._log.new_rows, measure=not self._stopped
        ):
            self._stopped = True
            if not self._is_save_step(step):
                self._save(step + 1)
        if self._stopped or step + 1 == self.config.steps:
            on_main(self.accelerator, self.checkpoints.finish_save)
        if self._stopped:
            self.clear_stop()

    def _is_save_step(self, step: int) -> bool:
        done = step + 1
        return done % self.config.save_every == 0 or done == self.config.steps

    def _take_over(self, saved: Mapping[str, Any]) -> list[str]:
        """Take over the history of a checkpoint; return the changes of the optimizer since then."""
        comparison = self._compare(saved, self._identity(self.first_step))
        self._tuned = list(saved.get("tuned") or [])
        if comparison.tuned:
            self._tuned.append({"step": self.first_step, "changed": comparison.tuned})
        if not self.is_main:
            return comparison.tuned

        run_dir = escape(str(self.config.run_dir))
        if comparison.unknown:
            warn(
                f"{run_dir}: the version that wrote the checkpoint "
                f"recorded no {', no '.join(comparison.unknown)}; the resume is exact if the "
                "corpus was not built again since"
            )
        if comparison.tuned:
            changed = escape("; ".join(comparison.tuned))
            warn(f"{run_dir} goes on with another optimizer: {changed}")
        return comparison.tuned

    def _compare(self, saved: Mapping[str, Any], current: Mapping[str, Any]) -> IdentityComparison:
        typed(
            saved,
            RunIdentity,
            f"the checkpoint of step {self.first_step} in {self.config.run_dir}: identity",
            error=CheckpointError,
            remedy="remove the folder of this checkpoint to resume from the previous one",
        )
        return compare_identities(
            saved, current, self.config, with_changes=self.config.resume_with_changes
        )

    def _check_quarantine(self) -> None:
        """Refuse a list of bad samples that a save could not read."""
        read_substitutes(self.config.run_dir, self._stream)

    def _record_start(self, tuned: list[str]) -> None:
        record_start(
            self.config.run_dir,
            self.config,
            self._stream,
            positions=self.config.positions,
            first_step=self.first_step,
            processes=self.accelerator.num_processes,
            tuned=tuned,
        )

    def _complete_encoder(self) -> None:
        """Write the encoder file if it is not of the checkpoint that the run continues."""
        path = self.config.run_dir / ENCODER_FILE
        if self.first_step and encoder_step(path) != self.first_step:
            save_encoder(self._encoder, path, self._provenance(self.first_step)())

    def _write_best(
        self, encoder: Encoder, done: int, path: Path, record: Mapping[str, Any]
    ) -> None:
        """Write the encoder after `done` steps with the record of its score."""
        save_encoder(encoder, path, {**self._provenance(done)(), "probe": dict(record)})

    def _save(self, done: int) -> None:
        """Copy the state after `done` steps, and begin to write it. A collective."""
        on_main(self.accelerator, self.checkpoints.finish_save)
        snapshot = self.checkpoints.snapshot(done, self._state, keep=self.is_main)
        on_main(self.accelerator, lambda: self._begin_save(snapshot))

    def _begin_save(self, snapshot: Snapshot) -> None:
        """Let a thread write the checkpoint and the encoder file."""
        provenance_then = self._provenance(snapshot.step)

        def write_encoder(path: Path) -> None:
            tensors = snapshot.encoder(self._state.modules, self._encoder)
            write_encoder_file(path, self._encoder.config, tensors, provenance_then())
            written_sha256(path, tensors)

        self.checkpoints.begin_save(snapshot, write_encoder)

    def _provenance(self, done: int) -> Callable[[], dict[str, Any]]:
        """Return a function that computes the provenance after `done` steps, which may take long.

        Bad samples of later steps do not count, whenever it is called.
        """
        return partial(
            provenance,
            self._identity(done),
            self._stream,
            read_substitutes(self.config.run_dir, self._stream),
            step=done,
            positions=done * self.config.global_batch,
        )

    def _identity(self, done: int) -> dict[str, Any]:
        """Return the run's identity after `done` steps."""
        positions = done * self.config.global_batch
        return run_identity(
            self.recipe,
            self._stream,
            self.config,
            self._init_from,
            positions=positions,
            versions={"masks": MASKS_VERSION, "views": VIEWS_VERSION},
            tuned=self._tuned,
        )

    def _tell_stopped(self, done: int) -> None:
        if self.is_main and done < self.config.steps:
            say(
                f"stopped as requested, with a checkpoint after {done} of {self.config.steps} "
                "steps; --resume true continues"
            )
