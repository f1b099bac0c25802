"""The console script `surgrec-shard`: build, verify, info, mix, order, phantom. Thin: parse, call, print."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from surgrec.cli import Command, run
from surgrec.errors import ConfigError
from surgrec.manifest import SPLITS, Split, Video, read_manifest, scan_folder
from surgrec.shards.corpus import open_corpus
from surgrec.storage import Store, open_store
from surgrec.stream.mixture import Mixture
from surgrec.stream.order import rank_positions
from surgrec.stream.stream import SourcePlan, Stream, too_often
from surgrec_shard.build import BuildRequest, BuildResult
from surgrec_shard.build import build as build_corpus
from surgrec_shard.encode import EncodeSettings
from surgrec_shard.info import describe_sources
from surgrec_shard.mix import by_domain, read_run
from surgrec_shard.phantom.corpus import render_corpus
from surgrec_shard.plan import PackSettings
from surgrec_shard.private import PrivateFolder
from surgrec_shard.verify import verify as verify_corpus

SOME_VIDEOS_FAILED = 3
"""Exit status of a build that is complete but had to leave videos out."""


def main() -> None:
    """Entry point of `surgrec-shard`."""
    commands = {
        "build": Command(function=build),
        "verify": Command(function=verify, positional="corpus"),
        "info": Command(function=info, positional="corpus", many=True),
        "mix": Command(function=mix, positional="corpus", many=True),
        "order": Command(function=order, positional="corpus", many=True),
        "phantom": Command(function=phantom),
    }
    run("surgrec-shard", commands)


def build(
    *,
    out: str,
    manifest: Path | None = None,
    videos: Path | None = None,
    source: str = "",
    domain: str = "",
    split: Split = "train",
    licence: str = "",
    case_from: str = "",
    ignore_columns: list[str] = [],  # noqa: B006 - only read; a tuple would not parse as a list
    public: bool = False,
    private: Path | None = None,
    work: Path | None = None,
    workers: int = 0,
    replace: bool = False,
    encode: EncodeSettings = EncodeSettings(),
    pack: PackSettings = PackSettings(),
) -> int:
    """Videos to shards. A killed build continues where it stopped when the same command runs again.

    Exit status 0: every video is in the corpus; 3: the corpus is complete but some videos could not be used.

    Args:
        out: Corpus root: a folder, or s3://bucket/prefix.
        manifest: CSV of videos with the columns path, source, domain, case, split, and optionally procedure, view,
            licence, labels, public.
        videos: Instead of a manifest: a folder, searched for videos. Needs --source and --domain.
        source: With --videos: name of the source.
        domain: With --videos: laparoscopy, endoscopy, cataract, robotic, ...
        split: With --videos: the stored split.
        licence: With --videos: terms of use, kept with every clip.
        case_from: With --videos: regular expression whose one group, found in the path, is the case.
        ignore_columns: Columns of the manifest to leave out; any other unknown column is refused.
        public: Keep case names as they are. Without it they are replaced by pseudonyms under a private key.
        private: Folder for the key, the names behind the pseudonyms and reports that show paths; never share it.
            Default: CORPUS.private beside a local corpus, ./BUCKET.private for an object store.
        work: Folder for unfinished work, on a fast local disk. Default: inside --private.
        workers: Videos encoded at once; 0 means one per core.
        replace: Build a source anew that the corpus has from other videos, cases or labels. No run may read it meanwhile.
        encode: How clips are stored.
        pack: How clips are packed into shards.
    """
    if workers < 0:
        raise ConfigError(f"workers is {workers}; it must be at least 1, or 0 for one per core")
    store = open_store(out)
    private = private or _private_folder(store)
    work = work or private / "work"
    _keep_apart(store, videos, private, work)
    chosen = _chosen_videos(manifest, videos, source, domain, split, licence, case_from, ignore_columns)
    request = BuildRequest(
        videos=chosen,
        store=store,
        private=PrivateFolder(private),
        work=work,
        encode=encode,
        pack=pack,
        public=public,
        workers=workers or len(os.sched_getaffinity(0)),
        replace=replace,
    )
    with _progress() as progress:
        result = build_corpus(request, progress)
    _print_build(result, store)
    return SOME_VIDEOS_FAILED if result.failures else 0


def verify(corpus: str, decode: bool = False) -> int:
    """Reads every shard once and checks it against the index.

    Args:
        corpus: Corpus root.
        decode: Decode every clip; otherwise one clip of each shard.
    """
    with _progress() as progress:
        findings = verify_corpus(corpus, decode_all=decode, progress=progress)
    for problem in findings.problems:
        _say(f"[red]wrong[/red] {escape(problem)}")
    verdict = f"{len(findings.problems)} problems" if findings.problems else "all as it should be"
    _say(f"{findings.shards} shards, {findings.samples} samples read, {findings.decoded} clips decoded: {verdict}")
    return 1 if findings.problems else 0


def info(corpus: list[str], json: bool = False) -> None:
    """What a corpus holds, per source.

    Args:
        corpus: One or several corpus roots.
        json: Print one JSON list instead of a table.
    """
    rows = describe_sources(open_corpus(corpus))
    if json:
        _print_json(rows)
        return
    table = Table(title=", ".join(corpus), box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("source", "domain", "videos", "failed", "cases", "hours", "train/val/test", "MB"):
        table.add_column(column, justify="left" if column in ("source", "domain") else "right", no_wrap=True)
    for row in rows:
        clips = "/".join(str(row["clips_per_split"].get(split, 0)) for split in SPLITS)
        counts = [f"{row['videos']}", f"{row['videos_failed']}", f"{row['cases']}", f"{row['hours']:.2f}"]
        table.add_row(row["source"], row["domain"], *counts, clips, f"{row['bytes'] / 1e6:.1f}")
    Console().print(table)


def mix(
    corpus: list[str],
    mixture: Mixture = Mixture(),
    seed: int = 0,
    samples: int = 0,
    run: Path | None = None,
    json: bool = False,
) -> int:
    """What a mixture draws of each source and domain: before a run, or counted by one.

    Args:
        corpus: One or several corpus roots.
        mixture: A mixture YAML file, or its fields as flags. Default: domains equally, sources by square root.
        seed: Seed of the run; it decides what stands in a block that is not full.
        samples: Samples that the run will draw: its steps times its global batch.
        run: Folder of a run: show what it has consumed, under its own mixture and seed, and whether that was the plan.
        json: Print one JSON list instead of a table.
    """
    if (run is None) == (samples < 1):
        raise ConfigError("give either --samples N, for a run to come, or --run RUN, for one that has logged steps")
    counted = read_run(run) if run is not None else None
    if counted is not None:
        mixture, seed, samples = counted.mixture, counted.seed, sum(counted.consumed.values())
    stream = Stream(open_corpus(corpus), mixture, seed)
    planned = stream.plan(samples)
    shown = planned if counted is None else stream.account(counted.consumed)
    if json:
        _print_json([vars(plan) for plan in shown])
    else:
        _print_mix(shown, f"{samples} samples, {'planned' if counted is None else f'consumed by {run}'}")
    if counted is not None:
        wrong = [plan.source for plan, found in zip(planned, shown, strict=True) if plan.draws != found.draws]
        verdict = f"not as planned: {', '.join(wrong)}" if wrong else "to the sample what was planned"
        _say(escape(verdict))
        return 1 if wrong else 0
    if found := too_often(planned, mixture.max_repeats):
        _say(f"[yellow]warning[/yellow] {escape(found)}")
        return 1 if mixture.over_max_repeats == "refuse" else 0
    return 0


def order(
    corpus: list[str],
    mixture: Mixture = Mixture(),
    seed: int = 0,
    global_batch: int = 24,
    world_size: int = 1,
    rank: int = 0,
    start_step: int = 0,
    num_steps: int = 1,
) -> None:
    """What a rank would train on: one JSON line per sample, without decoding a frame.

    Args:
        corpus: One or several corpus roots.
        mixture: A mixture YAML file, or its fields as flags. Default: domains equally, sources by square root.
        seed: Seed of the run.
        global_batch: Samples per step over all ranks.
        world_size: Number of ranks.
        rank: Which rank.
        start_step: First step.
        num_steps: Number of steps.
    """
    if start_step < 0 or num_steps < 0:
        raise ConfigError(f"start_step {start_step} and num_steps {num_steps} may not be negative")
    stream = Stream(open_corpus(corpus), mixture, seed)
    for step in range(start_step, start_step + num_steps):
        for draw in stream.draws(rank_positions(step, global_batch=global_batch, rank=rank, world_size=world_size)):
            line = {
                "step": step,
                "slot": draw.position - step * global_batch,
                "source": draw.source,
                "key": stream.key(draw),
                "source_epoch": draw.source_epoch,
            }
            sys.stdout.write(json.dumps(line) + "\n")


def phantom(*, out: Path, seed: int = 0, minutes: float = 12.0, workers: int = 0) -> None:
    """Renders a procedural corpus that looks like surgery in four domains. No patient is in it.

    Args:
        out: Folder for the videos and their manifest.
        seed: The same seed gives the same bytes on one machine.
        minutes: Minutes of video over all sources.
        workers: Cases rendered at once; 0 means one per core.
    """
    with _progress() as progress:
        manifest = render_corpus(
            out,
            seed=seed,
            minutes=minutes,
            workers=workers or os.cpu_count() or 1,
            progress=lambda done, total: progress("rendering", done, total),
        )
    _say(escape(f"manifest: {manifest}"))


def _chosen_videos(
    manifest: Path | None,
    videos: Path | None,
    source: str,
    domain: str,
    split: Split,
    licence: str,
    case_from: str,
    ignore_columns: list[str],
) -> list[Video]:
    if (manifest is None) == (videos is None):
        raise ConfigError("give either --manifest FILE.csv or --videos FOLDER")
    if manifest is not None:
        if source or domain or split != "train" or licence or case_from:
            raise ConfigError(
                "--source, --domain, --split, --licence and --case_from go with --videos; "
                "with --manifest they are columns of it"
            )
        return read_manifest(manifest, ignore_columns=ignore_columns)
    if ignore_columns:
        raise ConfigError("--ignore_columns goes with --manifest; --videos has no columns")
    if not source or not domain:
        raise ConfigError("--videos needs --source NAME and --domain NAME, as a folder does not say what it holds")
    assert videos is not None
    return scan_folder(videos, source=source, domain=domain, split=split, licence=licence, case_from=case_from)


def _keep_apart(store: Store, videos: Path | None, private: Path, work: Path) -> None:
    """Refuses to put what is private into the corpus, or the clips of unfinished work among the videos to build."""
    for flag, folder in (("--private", private), ("--work", work)):
        if not store.address.startswith("s3://") and folder.resolve().is_relative_to(Path(store.address).resolve()):
            raise ConfigError(f"{flag} {folder} lies inside the corpus {store.address}; name a folder outside of it")
        if videos is not None and folder.resolve().is_relative_to(videos.resolve()):
            raise ConfigError(f"{flag} {folder} lies inside --videos {videos}; name a folder outside of it")


def _private_folder(store: Store) -> Path:
    if store.address.startswith("s3://"):
        return Path(store.address.removeprefix("s3://").strip("/").replace("/", "-") + ".private")
    return Path(str(store.address).rstrip("/") + ".private")


def _print_build(result: BuildResult, store: Store) -> None:
    for failure in result.failures[:20]:
        _say(f"[yellow]left out[/yellow] {escape(f'{failure.path}: {failure.detail}')}")
    if len(result.failures) > 20:
        _say(f"... and {len(result.failures) - 20} more")
    for name, entry in result.corpus.sources.items():
        _say(
            f"{name}: {entry.samples} clips of {entry.videos} videos, {entry.hours:.2f} h, "
            f"{entry.bytes / 1e6:.1f} MB in {len(entry.shards)} shards"
        )
    _say(escape(f"corpus: {store.address}\nprivate list of all videos: {result.report}"))


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar per stage, on standard error."""
    columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def update(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield update


def _print_mix(plans: Sequence[SourcePlan], title: str) -> None:
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("domain", "source", "clips", "hours", "share", "draws", "epochs", "hours drawn"):
        table.add_column(column, justify="left" if column in ("domain", "source") else "right", no_wrap=True)
    for domain in by_domain(plans):
        own = [plan for plan in plans if plan.domain == domain.domain]
        for plan in (*own, domain) if len(own) > 1 else own:
            counts = (
                f"{plan.samples}",
                f"{plan.hours:.2f}",
                f"{plan.share:.2%}",
                f"{plan.draws}",
                f"{plan.epochs:.2f}",
            )
            style = None if plan.source else "bold"
            hours = f"{plan.epochs * plan.hours:.2f}" if plan.source else f"{sum(p.epochs * p.hours for p in own):.2f}"
            table.add_row(plan.domain, plan.source or "all", *counts, hours, style=style)
    Console().print(table)


def _say(text: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(text)


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=1) + "\n")
