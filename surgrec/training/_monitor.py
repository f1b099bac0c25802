"""What a run watches besides its loss: probe, drift and alarms, and the best encoder by the probe.

Nothing here changes the run: the encoder is frozen for a measurement, no random number is drawn,
and losses are the same with and without it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from surgrec.clips import ClipSampling
from surgrec.evaluation import OnlineProbe
from surgrec.models import Encoder
from surgrec.runs import RunFiles, Watched, append_rows, read_watched
from surgrec.runs.alarms import GivenAlarms, find_alarms, kept_rows
from surgrec.runs.drawn import drawn_videos
from surgrec.stream import Stream
from surgrec.terminal import escape, say, warn
from surgrec.text import counted
from surgrec.training._best_encoder import BEST_ENCODER_FILE, BestEncoder, WriteBest
from surgrec.training._drift import Drift
from surgrec.training._launch import Precision
from surgrec.training._measurement import StoppedMeasurement, gathered_unless_stopped
from surgrec.training._ranks import on_main, own_share
from surgrec.training._run_config import RunConfig
from surgrec.training._sharding import whole_encoder


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
    best: BestEncoder
    log: Callable[[Mapping[str, Any], int], None]
    """Sends numbers to the tracker, if the run has one."""
    is_stop_coming: Callable[[], bool]
    """Whether a rank was asked to stop, which ends a measurement."""
    _rows: list[Mapping[str, Any]] = field(default_factory=list)
    _drifts: list[Mapping[str, Any]] = field(default_factory=list)
    _probes: list[Mapping[str, Any]] = field(default_factory=list)
    _first_step: int = 0
    _given: GivenAlarms = field(default_factory=GivenAlarms)

    @classmethod
    def open(
        cls,
        config: RunConfig,
        accelerator: Accelerator,
        stream: Stream,
        *,
        write_best: WriteBest,
        log: Callable[[Mapping[str, Any], int], None],
        is_stop_coming: Callable[[], bool],
    ) -> "Monitor":
        """Open the inputs of probe and drift. Changes no file.

        Raises:
            SurgrecError: An input of the probe is missing, its split or labels are refused, or the
                run folder has the best encoder of another probe.
        """
        sampling = ClipSampling(num_frames=config.encoder.num_frames, fps=config.sampling_fps)
        # A run in fp16 skips a step that overflows; a measurement could not.
        precision: Precision = "bf16" if config.precision == "bf16" else "no"
        best = BestEncoder(path=config.run_dir / BEST_ENCODER_FILE, write=write_best)
        drift = probe = None
        drawn_cases: list[str] = []
        if config.drift.every is not None:
            drift = Drift(
                config=config.drift,
                run_dir=config.run_dir,
                accelerator=accelerator,
                stream=stream,
                sampling=sampling,
                join_clips=config.join_clips,
                precision=precision,
                is_stop_coming=is_stop_coming,
            )
        if config.probe.corpus is not None:
            probe = OnlineProbe(
                config.probe,
                sampling,
                precision=precision,
                allow_repeated_frames=config.allow_repeated_frames,
            )
            positions = config.steps * config.global_batch
            drawn_cases = probe.drawn_test_cases(drawn_videos(stream, positions, {}))
            best.require_probe(probe.identity)
        return cls(
            config=config,
            accelerator=accelerator,
            drift=drift,
            probe=probe,
            drawn_cases=drawn_cases,
            best=best,
            log=log,
            is_stop_coming=is_stop_coming,
        )

    def begin(self, encoder: Encoder, step: int, *, pretrained: bool) -> None:
        """Measure the encoder of the start, and read what the run has measured before.

        If a rank is asked to stop meanwhile, the run is to stop after its first step.

        Args:
            encoder: The run's encoder.
            step: Steps done; rows of later steps are dropped already.
            pretrained: Whether the run started from pretrained weights.
        """
        watched = on_main(self.accelerator, lambda: _read_watched(self.config.run_dir))
        self._rows, self._drifts = [*watched.metrics], [*watched.drift]
        self._probes = [*watched.probes]
        self._first_step = step

        self._give_warnings(pretrained=pretrained)
        if self.drift is None and self.probe is None:
            return
        with suppress(StoppedMeasurement):
            self._measure_start(whole_encoder(encoder), step, pretrained=pretrained)

    def _give_warnings(self, *, pretrained: bool) -> None:
        """Warn of the limits of this run's measurements, and of a best encoder of lost steps."""
        if not self.accelerator.is_main_process:
            return
        if self.drift is None and pretrained:
            say(
                "the run starts from pretrained weights and does not measure the drift of the "
                "features from them; give --drift.every 500"
            )
        if self.drift is not None and self.probe is None:
            say(
                "the drift of the features is measured, but not whether they become better; "
                "give a corpus with labels as probe.corpus"
            )

        if self.probe is not None:
            self.best.warn_if_lost(self._probes)
        if self.probe is not None and self.drawn_cases:
            warn(
                f"the run draws {len(self.drawn_cases)} of the "
                f"{counted(len(self.probe.test_cases), 'held-out case')} of its probe, such as "
                f"{escape(self.drawn_cases[0])}, so the score says little about unseen cases; give "
                "a probe.split whose test cases the run does not draw"
            )

    def _measure_start(self, whole: Encoder, step: int, *, pretrained: bool) -> None:
        """Keep the features of the start, score its encoder, and measure what is due."""
        if self.drift is not None:
            self.drift.begin(whole, step, pretrained=pretrained)
        if self.probe is not None and not self._probes:
            self._probe(whole, step)
        if step:
            self._measure(whole, step)

    def is_due(self, done: int) -> bool:
        """Whether something is measured after `done` steps; the ranks then sync."""
        return self._drift_is_due(done) or self._probe_is_due(done)

    def watch(
        self, encoder: Encoder, done: int, rows: Sequence[Mapping[str, Any]], *, measure: bool
    ) -> bool:
        """Measure what is due after `done` steps, and give the alarms that are new.

        Args:
            encoder: The run's encoder.
            done: Steps done.
            rows: The new rows of metrics.jsonl.
            measure: False if the run stops, which must be quick: the resumed run measures then.

        Returns:
            Whether a measurement ended early, because a rank was asked to stop meanwhile.
        """
        self._rows = kept_rows([*self._rows, *rows])
        is_stopped = False
        if measure:
            try:
                self._measure(encoder, done)
            except StoppedMeasurement:
                is_stopped = True
        on_main(self.accelerator, lambda: self._give_alarms(done))
        return is_stopped

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
        own = own_share(self.accelerator, probe.numbers)
        videos = gathered_unless_stopped(
            self.accelerator,
            encoder,
            lambda: probe.features(encoder, own),
            is_stop_coming=self.is_stop_coming,
        )

        scores = on_main(self.accelerator, lambda: probe.scores(videos))
        is_best = on_main(
            self.accelerator, lambda: self.best.is_beaten_by(scores["score"], self._probes)
        )
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
                lambda: self.best.write(encoder, done, self.best.path, record),
            )
        self._probes.append(row)
        on_main(self.accelerator, lambda: self._write(RunFiles(self.config.run_dir).probe, row))

    def _write(self, path: Path, row: Mapping[str, Any]) -> None:
        append_rows(path, [row])
        numbers = {name: value for name, value in row.items() if name not in ("step", "from_step")}
        self.log({f"{path.stem}_{name}": value for name, value in numbers.items()}, row["step"])

    def _give_alarms(self, done: int) -> None:
        """Print and store the alarms that this start has not given yet."""
        alarms = find_alarms(self._rows, self._drifts, self._probes, first_step=self._first_step)
        alarms = self._given.new(alarms, done)
        for alarm in alarms:
            warn(f"step {alarm.step}: {escape(alarm.text)}", word="alarm", color="red")
        if alarms:
            append_rows(RunFiles(self.config.run_dir).alarms, [alarm.row for alarm in alarms])


def _has(rows: Sequence[Mapping[str, Any]], step: int) -> bool:
    return bool(rows) and rows[-1]["step"] == step


def _read_watched(run_dir: Path) -> Watched:
    """Read what the alarms need; it is sent to every rank, so the other rows are left out."""
    watched = read_watched(run_dir)
    return replace(watched, metrics=kept_rows(watched.metrics))
