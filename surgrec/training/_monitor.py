"""What a run watches besides its loss: probe, drift and alarms, and the best encoder by the probe.

Nothing here changes the run: the encoder is frozen for a measurement, no random number is drawn,
and losses are the same with and without it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from surgrec.clips import ClipSampling
from surgrec.errors import CheckpointError, ConfigError
from surgrec.evaluation import OnlineProbe
from surgrec.models import Encoder, encoder_provenance
from surgrec.runs import RunFiles, Watched, append_rows, read_watched
from surgrec.runs.alarms import find_alarms, kept_rows
from surgrec.runs.drawn import drawn_videos
from surgrec.stream import Stream
from surgrec.terminal import escape, say
from surgrec.text import counted
from surgrec.training._drift import Drift
from surgrec.training._ranks import gathered, on_main, own_share
from surgrec.training._run_config import RunConfig
from surgrec.training._sharding import whole_encoder

BEST_ENCODER_FILE = "encoder_best.safetensors"
"""Name of the encoder with the best score of the probe in a run folder."""

WriteBest = Callable[[Encoder, int, Path, Mapping[str, Any]], None]
"""Writes a whole encoder after some steps to a path, with a record of its score."""


@dataclass(kw_only=True)
class Monitor:
    """Probe, drift and alarms of one start of a run. Call `begin` first.

    Every method but `is_due` is a collective.
    """

    config: RunConfig
    accelerator: Accelerator
    drift: Drift | None
    probe: OnlineProbe | None
    drawn_cases: list[str]
    """Held-out cases of the probe that the run draws itself."""
    write_best: WriteBest
    log: Callable[[Mapping[str, Any], int], None]
    """Sends numbers to the tracker, if the run has one."""
    _rows: list[Mapping[str, Any]] = field(default_factory=list)
    _drifts: list[Mapping[str, Any]] = field(default_factory=list)
    _probes: list[Mapping[str, Any]] = field(default_factory=list)
    _alarmed: set[str] = field(default_factory=set)

    @classmethod
    def open(
        cls,
        config: RunConfig,
        accelerator: Accelerator,
        stream: Stream,
        *,
        write_best: WriteBest,
        log: Callable[[Mapping[str, Any], int], None],
    ) -> "Monitor":
        """Open the inputs of probe and drift. Changes no file.

        Raises:
            SurgrecError: An input of the probe is missing, its split or labels are refused, or the
                run folder has the best encoder of another probe.
        """
        sampling = ClipSampling(num_frames=config.encoder.num_frames, fps=config.sampling_fps)
        drift = probe = None
        drawn_cases: list[str] = []
        if config.drift.every is not None:
            drift = Drift(
                config=config.drift,
                run_dir=config.run_dir,
                accelerator=accelerator,
                stream=stream,
                sampling=sampling,
                precision=config.precision,
            )
        if config.probe.corpus is not None:
            probe = OnlineProbe(
                config.probe,
                sampling,
                precision=config.precision,
                allow_repeated_frames=config.allow_repeated_frames,
            )
            positions = config.steps * config.global_batch
            drawn_cases = probe.drawn_test_cases(drawn_videos(stream, positions, {}))
            best = _read_best(config.run_dir / BEST_ENCODER_FILE)
            if best is not None and best["identity"] != probe.identity:
                raise ConfigError(
                    f"{config.run_dir / BEST_ENCODER_FILE} was chosen by another probe (task "
                    f"{best['identity'].get('task')}), so scores cannot be compared; move the file "
                    "to another folder, or give the same probe.corpus, task, split and clips"
                )
        return cls(
            config=config,
            accelerator=accelerator,
            drift=drift,
            probe=probe,
            drawn_cases=drawn_cases,
            write_best=write_best,
            log=log,
        )

    def begin(self, encoder: Encoder, step: int, *, pretrained: bool) -> None:
        """Measure the encoder of the start, and read what the run has measured before.

        Args:
            encoder: The run's encoder.
            step: Steps done; rows of later steps are dropped already.
            pretrained: Whether the run started from pretrained weights.
        """
        watched = on_main(self.accelerator, lambda: _read_watched(self.config.run_dir))
        self._rows, self._drifts = [*watched.metrics], [*watched.drift]
        self._probes = [*watched.probes]
        self._alarmed = {row["kind"] for row in watched.alarms}

        if self.drift is None and self.probe is None:
            return
        whole = whole_encoder(encoder)
        if self.drift is not None:
            self.drift.begin(whole, step, pretrained=pretrained)
            if self.probe is None and self.accelerator.is_main_process:
                say(
                    "the drift of the features is measured, but not whether they become better; "
                    "give a corpus with labels as probe.corpus"
                )
        if self.probe is not None and self.drawn_cases and self.accelerator.is_main_process:
            say(
                f"[yellow]warning[/yellow] the run draws {len(self.drawn_cases)} of the "
                f"{counted(len(self.probe.test_cases), 'held-out case')} of its probe, such as "
                f"{escape(self.drawn_cases[0])}, so the score says little about unseen cases; give "
                "a probe.split whose test cases the run does not draw"
            )
        if self.probe is not None and not self._probes:
            self._probe(whole, step)
        if step:
            self._measure(whole, step)

    def is_due(self, done: int) -> bool:
        """Whether something is measured after `done` steps; the ranks then sync."""
        return self._drift_is_due(done) or self._probe_is_due(done)

    def watch(
        self, encoder: Encoder, done: int, rows: Sequence[Mapping[str, Any]], *, measure: bool
    ) -> None:
        """Measure what is due after `done` steps, and give the alarms that are new.

        Args:
            encoder: The run's encoder.
            done: Steps done.
            rows: The new rows of metrics.jsonl.
            measure: False if the run stops, which must be quick: the resumed run measures then.
        """
        self._rows = kept_rows([*self._rows, *rows])
        if measure:
            self._measure(encoder, done)
        on_main(self.accelerator, self._give_alarms)

    def _measure(self, encoder: Encoder, done: int) -> None:
        """Compare and score the encoder, if it is due and was not done before a restart."""
        drifts = self._drift_is_due(done) and not _has(self._drifts, done)
        probes = self._probe_is_due(done) and not _has(self._probes, done)
        if not drifts and not probes:
            return

        whole = whole_encoder(encoder)
        if self.drift is not None and drifts:
            row = self.drift.measure(whole, done)
            self._drifts.append(row)
            on_main(self.accelerator, lambda: self._write(RunFiles(self.config.run_dir).drift, row))
        if probes:
            self._probe(whole, done)

    def _drift_is_due(self, done: int) -> bool:
        every = self.config.drift.every
        return every is not None and (done % every == 0 or done == self.config.steps)

    def _probe_is_due(self, done: int) -> bool:
        is_due = done % self.config.probe.every == 0 or done == self.config.steps
        return self.probe is not None and is_due

    def _probe(self, encoder: Encoder, done: int) -> None:
        """Score a whole encoder, and keep it if it is the best so far."""
        assert self.probe is not None
        probe, began = self.probe, time.perf_counter()
        share = probe.features(encoder, own_share(self.accelerator, probe.numbers))
        videos = gathered(self.accelerator, share)

        scores = on_main(self.accelerator, lambda: probe.scores(videos))
        best = on_main(self.accelerator, lambda: _read_best(self._best_file))
        is_best = best is None or scores["score"] > best["score"]
        row = {
            "step": done,
            **scores,
            "is_best": is_best,
            "seconds": round(time.perf_counter() - began, 3),
        }
        if is_best:
            record = {"score": row["score"], "step": done, "identity": probe.identity}
            on_main(
                self.accelerator,
                lambda: self.write_best(encoder, done, self._best_file, record),
            )
        self._probes.append(row)
        on_main(self.accelerator, lambda: self._write(RunFiles(self.config.run_dir).probe, row))

    @property
    def _best_file(self) -> Path:
        return self.config.run_dir / BEST_ENCODER_FILE

    def _write(self, path: Path, row: Mapping[str, Any]) -> None:
        append_rows(path, [row])
        numbers = {name: value for name, value in row.items() if name not in ("step", "from_step")}
        self.log({f"{path.stem}_{name}": value for name, value in numbers.items()}, row["step"])

    def _give_alarms(self) -> None:
        """Print and store each kind of alarm once in a run."""
        alarms = [
            alarm
            for alarm in find_alarms(self._rows, self._drifts, self._probes)
            if alarm.kind not in self._alarmed
        ]
        for alarm in alarms:
            say(f"[red]alarm[/red] step {alarm.step}: {escape(alarm.text)}")
            self._alarmed.add(alarm.kind)
        if alarms:
            append_rows(RunFiles(self.config.run_dir).alarms, [alarm.row for alarm in alarms])


def _has(rows: Sequence[Mapping[str, Any]], step: int) -> bool:
    return bool(rows) and rows[-1]["step"] == step


def _read_watched(run_dir: Path) -> Watched:
    """Read what the alarms need; it is sent to every rank, so the other rows are left out."""
    watched = read_watched(run_dir)
    return replace(watched, metrics=kept_rows(watched.metrics))


def _read_best(path: Path) -> dict[str, Any] | None:
    """Return the record of the best encoder's score; None if the run has no such encoder.

    Raises:
        CheckpointError: The file is damaged, or has no score.
    """
    if not path.exists():
        return None
    record = encoder_provenance(path).get("probe")
    if not isinstance(record, dict) or not {"score", "step", "identity"} <= record.keys():
        raise CheckpointError(
            f"{path} does not record the score of a probe; move it to another folder"
        )
    return record
