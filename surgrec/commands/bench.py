"""`surgrec bench`: encoders on the tasks of the benchmark, from copies of data sets to one page."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from surgrec.bench import (
    Arms,
    Bench,
    BenchEncoder,
    Outcome,
    Settings,
    Step,
    check_arms,
    choose_models,
    choose_tasks,
    copy_digests,
    named_values,
    plan_steps,
    read_ablation,
    run_bench,
)
from surgrec.commands._train_extra import train_extra
from surgrec.errors import ConfigError
from surgrec.ranges import Range
from surgrec.recordings.picture_files import HIGHEST_RATE, LOWEST_RATE
from surgrec.tasks import find_cards
from surgrec.terminal import SOME_FAILED, escape, say, spinner
from surgrec.text import as_list


def bench(
    *,
    tasks: str | list[str],
    encoders: str | list[str],
    out: Path,
    root: Path | None = None,
    sources: str | list[str] = "",
    weights: str | list[str] = "",
    vlms: str | list[str] = "",
    legacy_splits: Path | None = None,
    ablation: str = "",
    allow: str | list[str] = "",
    allow_incomplete: bool = False,
    allow_pretraining_overlap: bool = False,
    allow_unknown_pretraining: bool = False,
    allow_repeated_frames: bool = False,
    frame_fps: str | list[str] = "",
    fps: str | list[str] = "",
    stored_fps: Annotated[float, Range(0, 1000)] = 8.0,
    short_side_px: Annotated[int, Range(16, 8192)] = 256,
    stride_s: Annotated[float, Range(0, 3600)] = 0.0,
    temporal: bool = True,
    allow_hosts: str | list[str] = "",
    vlm_frames: Annotated[int, Range(1, 64)] = 8,
    api_key_env: str = "",
    private: Path | None = None,
    workers: Annotated[int, Range(0, 1024)] = 0,
    batch: Annotated[int, Range(1, 65_536)] = 16,
    precision: Literal["no", "bf16"] = "no",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    processes: Annotated[int, Range(1, 1024)] = 1,
    engine: Literal["local", "ray"] = "local",
    address: str = "",
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Evaluate encoders on tasks of the benchmark, from copies of data sets to one page.

    All copies are checked first. Then each step is one command of SurgRec, which a log shows:
    build, audit, evaluate, compare. To continue a killed benchmark, or to add tasks or encoders,
    run the command again: it runs the new steps only. A failed step costs its own rows.

    Exit status 0: all rows have scores. Exit status 3: the page is complete, but some rows have
    none; the page says why. Exit status 1: a copy is not complete, and nothing was built.

    Args:
        tasks: Names of tasks, with commas between them, or patterns such as 'cholec80-*'
            (`surgrec tasks` lists them). '*' is all but the legacy ones.
        encoders: NAME=RUN_OR_PRESET, with commas between them: a run, an encoder file or a preset
            (`surgrec encoders`). Several of one name are pretraining seeds of one method.
        out: Folder for the corpora, features, results and the page index.html.
        root: Folder with the copies of the data sets, each under the name of its preset
            (`surgrec-shard check-source list`).
        sources: PRESET=PATH: copies in other places.
        weights: NAME=FILE: local files of the weights of presets. Nothing is downloaded.
        vlms: NAME=URL: vision-language models for `surgrec vlm`, by their names at the server of
            this address. NAME=FOLDER: a model in a local folder. NAME=MODEL@URL: a model with
            another name at the server.
        legacy_splits: Folder with the lists of clips of legacy tasks. They are audited, and not
            scored.
        ablation: Compare two methods whose runs must differ in one respect alone, such as
            balanced: name of an ablation, or a YAML file. Their runs are in --encoders, one per
            seed.
        allow: Findings of `surgrec audit` that stop no evaluation; the page states them.
        allow_incomplete: Continue with copies that lack files; the page states it.
        allow_pretraining_overlap: As for `surgrec evaluate`; the page states it.
        allow_unknown_pretraining: Likewise. Weights of other projects need it.
        allow_repeated_frames: Likewise.
        frame_fps: PRESET=RATE: rate of the picture numbers, of sets of pictures without a published
            rate.
        fps: PRESET=RATE: frames per second of the windows of a data set, in place of the rate of
            its cards and of the encoders. Copies at 1 picture per second need 1.
        stored_fps: Frames per second of the corpora; 0 keeps every picture.
        short_side_px: Shorter side of the stored pictures, pixels.
        stride_s: Seconds from the start of one window to the next; 0: that of each task.
        temporal: Also fit the causal heads of tasks that ask for them. Takes minutes to hours.
        allow_hosts: As for `surgrec vlm`: hosts beside this machine that may receive images.
        vlm_frames: Images of a window that a vision-language model sees: `surgrec vlm --frames`.
        api_key_env: As for `surgrec vlm`: environment variable that has the key of the server.
        private: Folder with the key of the corpora. With that of the pretraining corpora, the
            evaluation finds cases in common. Default: OUT/private.
        workers: Videos encoded at once; 0: one per core.
        batch: Windows per forward pass.
        precision: Autocast type of the forward passes.
        device: Device of the encoders.
        processes: Videos processed at once by an encoder.
        engine: local: one step after the other on this machine. ray: independent steps at once on
            the machines of a Ray cluster, which share --out, the copies, the encoders and --private
            under the same paths (docs/many-machines.md).
        address: With --engine ray: HOST:PORT of the cluster. Default: that of RAY_ADDRESS, or else
            Ray is started on this machine.
        dry_run: Print the copies and steps with hours of video, core-hours, GB, forward passes and
            requests, and run nothing.
        json: With --dry_run: print JSON.

    Example:
        surgrec bench --root /data --tasks '*' --encoders jepa=runs/jepa,mae=runs/mae --out bench
    """
    settings = Settings(
        allow=tuple(_words(allow)),
        allow_pretraining_overlap=allow_pretraining_overlap,
        allow_unknown_pretraining=allow_unknown_pretraining,
        allow_repeated_frames=allow_repeated_frames,
        frame_fps=_rates(_words(frame_fps), "--frame_fps"),
        fps=_rates(_words(fps), "--fps"),
        stored_fps=stored_fps,
        short_side_px=short_side_px,
        stride_s=stride_s,
        temporal=temporal,
        allow_hosts=tuple(_words(allow_hosts)),
        vlm_frames=vlm_frames,
        api_key_env=api_key_env,
        private=private.absolute() if private else None,
        workers=workers,
        batch=batch,
        precision=precision,
        device=device,
        processes=processes,
        engine=engine,
        address=address,
    )
    with spinner("looking at the copies and encoders"):
        chosen = choose_tasks(
            find_cards(_words(tasks)),
            root=root,
            sources=_words(sources),
            legacy_splits=legacy_splits,
        )
        models = choose_models(_words(encoders), _words(weights), _words(vlms))
        plan = plan_steps(chosen, models, copy_digests(chosen), settings)
        found = [model for model in models if isinstance(model, BenchEncoder)]
        arms = _arms(ablation, found)
    out = out.absolute()
    if root is not None and not root.is_dir():
        raise ConfigError(f"--root {root} is not a folder; give the folder with the copies")
    if dry_run:
        from surgrec.commands._bench_plan import print_plan

        print_plan(plan, settings, out, json=json)
        return 0

    job = Bench(plan=plan, out=out, settings=settings, allow_incomplete=allow_incomplete, arms=arms)
    outcomes = run_bench(job, _tell, lambda line: say(escape(line)))
    return _write(job, outcomes)


def _arms(name: str, encoders: Sequence[BenchEncoder]) -> Arms | None:
    """Return the runs of an ablation, whose recorded pretraining is compared."""
    if not name:
        return None
    ablation = read_ablation(name)
    with train_extra():
        from surgrec.models import encoder_provenance

    own = [encoder for encoder in encoders if encoder.method in ablation.arms]
    provenance = {encoder.name: encoder_provenance(encoder.file) for encoder in own}
    return check_arms(ablation, own, provenance)


def _write(job: Bench, outcomes: dict[str, Outcome]) -> int:
    with train_extra():
        from surgrec.bench.page import PAGE, write_page
        from surgrec.bench.summary import (
            count_scores,
            legacy_sentences,
            relative_outcomes,
            summarize,
            write_tables,
        )

    outcomes = relative_outcomes(job, outcomes)
    summary = summarize(job, outcomes)
    write_tables(job, summary)
    write_page(job, outcomes, summary, shlex.join(["surgrec", *sys.argv[1:]]))
    for sentence in legacy_sentences(summary.rows):
        say(escape(sentence))
    found, total = count_scores(summary)
    scores = f"{found} of {total} scores" if total else "no task with scores"
    say(escape(f"benchmark: {job.out / PAGE}, {scores}"))
    return (
        SOME_FAILED if found < total or not all(each.is_done for each in outcomes.values()) else 0
    )


def _tell(step: Step, number: int, total: int) -> None:
    say(escape(f"[{number}/{total}] {step.name}: {step.command}"))


def _words(given: str | list[str]) -> list[str]:
    """Return words that are given as a list or with commas between them."""
    return [word for text in as_list(given) for word in text.split(",") if word]


def _rates(words: Sequence[str], option: str) -> dict[str, float]:
    rates = {}
    for name, text in named_values(words, option, "RATE"):
        try:
            rate = float(text)
        except ValueError:
            rate = 0.0
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise ConfigError(
                f"{option} {name}={text}: give a rate from {LOWEST_RATE:g} to {HIGHEST_RATE:g}"
            )
        rates[name] = rate
    return rates
