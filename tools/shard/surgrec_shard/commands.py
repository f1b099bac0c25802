"""The console script `surgrec-shard`: build, verify, info, phantom. Thin: parse, call, print."""

import os
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from surgrec.cli import Command, run
from surgrec.errors import ConfigError
from surgrec.manifest import SPLITS, Split, Video, read_manifest, scan_folder
from surgrec.shards import open_corpus
from surgrec.storage import Store, open_store
from surgrec.terminal import SOME_FAILED, print_json, result_table, say, stage_progress
from surgrec_shard.build import BuildRequest, BuildResult
from surgrec_shard.build import build as build_corpus
from surgrec_shard.encode import EncodeSettings
from surgrec_shard.groups import PackSettings
from surgrec_shard.info import describe_sources
from surgrec_shard.phantom.render_corpus import render_corpus
from surgrec_shard.private import PrivateFolder
from surgrec_shard.verify import verify as verify_corpus

_MOVED = ("mix", "order")


def main() -> None:
    """Run `surgrec-shard`."""
    if len(sys.argv) > 1 and sys.argv[1] in _MOVED:
        say(f"surgrec-shard {sys.argv[1]} is now `surgrec {sys.argv[1]}`; this name will go away")
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, "-m", "surgrec", *sys.argv[1:]])
    commands = {
        "build": Command(function=build),
        "verify": Command(function=verify, positional="corpus"),
        "info": Command(function=info, positional="corpus", many=True),
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
    license: str = "",
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
            license, labels, public.
        videos: Instead of a manifest: a folder, searched for videos. Needs --source and --domain.
        source: With --videos: name of the source.
        domain: With --videos: laparoscopy, endoscopy, cataract, robotic, ...
        split: With --videos: the stored split.
        license: With --videos: terms of use, kept with every clip.
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
    chosen = _chosen_videos(
        manifest, videos, source, domain, split, license, case_from, ignore_columns
    )
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
    with stage_progress() as progress:
        result = build_corpus(request, progress)
    _print_build(result, store)
    return SOME_FAILED if result.failures else 0


def verify(corpus: str, decode: bool = False) -> int:
    """Reads every shard once and checks it against the index.

    Args:
        corpus: Corpus root.
        decode: Decode every clip; otherwise one clip of each shard.
    """
    with stage_progress() as progress:
        findings = verify_corpus(corpus, decode_all=decode, progress=progress)
    for problem in findings.problems:
        say(f"[red]wrong[/red] {escape(problem)}")
    verdict = f"{len(findings.problems)} problems" if findings.problems else "all as it should be"
    say(
        f"{findings.shards} shards, {findings.samples} samples read, {findings.decoded} clips decoded: {verdict}"
    )
    return 1 if findings.problems else 0


def info(corpus: list[str], json: bool = False) -> None:
    """What a corpus holds, per source.

    Args:
        corpus: One or several corpus roots.
        json: Print one JSON list instead of a table.
    """
    rows = describe_sources(open_corpus(corpus))
    if json:
        print_json(rows)
        return
    counted = ("videos", "failed", "cases", "hours", "train/val/test", "MB")
    table = result_table(", ".join(corpus), left=("source", "domain"), right=counted)
    for row in rows:
        clips = "/".join(str(row["clips_per_split"].get(split, 0)) for split in SPLITS)
        counts = [
            f"{row['videos']}",
            f"{row['videos_failed']}",
            f"{row['cases']}",
            f"{row['hours']:.2f}",
        ]
        table.add_row(row["source"], row["domain"], *counts, clips, f"{row['bytes'] / 1e6:.1f}")
    Console().print(table)


def phantom(*, out: Path, seed: int = 0, minutes: float = 12.0, workers: int = 0) -> None:
    """Renders a procedural corpus that looks like surgery in four domains. No patient is in it.

    Args:
        out: Folder for the videos and their manifest.
        seed: The same seed gives the same bytes on one machine.
        minutes: Minutes of video over all sources.
        workers: Cases rendered at once; 0 means one per core.
    """
    with stage_progress() as progress:
        manifest = render_corpus(
            out,
            seed=seed,
            minutes=minutes,
            workers=workers or os.cpu_count() or 1,
            progress=lambda done, total: progress("rendering", done, total),
        )
    say(escape(f"manifest: {manifest}"))


def _chosen_videos(
    manifest: Path | None,
    videos: Path | None,
    source: str,
    domain: str,
    split: Split,
    license: str,
    case_from: str,
    ignore_columns: list[str],
) -> list[Video]:
    if (manifest is None) == (videos is None):
        raise ConfigError("give either --manifest FILE.csv or --videos FOLDER")
    if manifest is not None:
        if source or domain or split != "train" or license or case_from:
            raise ConfigError(
                "--source, --domain, --split, --license and --case_from go with --videos; "
                "with --manifest they are columns of it"
            )
        return read_manifest(manifest, ignore_columns=ignore_columns)
    if ignore_columns:
        raise ConfigError("--ignore_columns goes with --manifest; --videos has no columns")
    if not source or not domain:
        raise ConfigError(
            "--videos needs --source NAME and --domain NAME, as a folder does not say what it holds"
        )
    assert videos is not None
    return scan_folder(
        videos, source=source, domain=domain, split=split, license=license, case_from=case_from
    )


def _keep_apart(store: Store, videos: Path | None, private: Path, work: Path) -> None:
    """Refuses to put what is private into the corpus, or the clips of unfinished work among the videos to build."""
    for flag, folder in (("--private", private), ("--work", work)):
        if store.is_local and folder.resolve().is_relative_to(Path(store.address).resolve()):
            raise ConfigError(
                f"{flag} {folder} lies inside the corpus {store.address}; name a folder outside of it"
            )
        if videos is not None and folder.resolve().is_relative_to(videos.resolve()):
            raise ConfigError(
                f"{flag} {folder} lies inside --videos {videos}; name a folder outside of it"
            )


def _private_folder(store: Store) -> Path:
    if store.is_local:
        return Path(f"{store.address.rstrip('/')}.private")
    return Path(store.address.removeprefix("s3://").strip("/").replace("/", "-") + ".private")


def _print_build(result: BuildResult, store: Store) -> None:
    for failure in result.failures[:20]:
        say(f"[yellow]left out[/yellow] {escape(f'{failure.path}: {failure.detail}')}")
    if len(result.failures) > 20:
        say(f"... and {len(result.failures) - 20} more")
    for name, entry in result.corpus.sources.items():
        say(
            f"{name}: {entry.samples} clips of {entry.videos} videos, {entry.hours:.2f} h, "
            f"{entry.bytes / 1e6:.1f} MB in {len(entry.shards)} shards"
        )
    say(escape(f"corpus: {store.address}\nprivate list of all videos: {result.report}"))
