"""Provenance: the origin of the videos of a corpus, and those left out or removed."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from surgrec.errors import ShardError
from surgrec.shards import CorpusFile, Source
from surgrec.shards.history import Change
from surgrec.storage import Store
from surgrec.text import counted


@dataclass(frozen=True, kw_only=True)
class SourceProvenance:
    """One source of a corpus, in counts."""

    source: str
    domain: str
    licenses: dict[str, float]
    """Hours under each license; an empty one was not stated."""
    procedures: dict[str, float]
    """Hours of each procedure; an empty one was not stated."""
    videos: int
    public_videos: int
    """Videos whose names and cases are not pseudonyms."""
    cases: int
    videos_per_split: dict[str, int]
    split_rule: str
    """Published split that the stored splits follow, with its status; empty: none is known."""
    hours: float
    clips: int
    bytes: int
    digest: str
    dropped_videos: dict[str, int]
    """Whole videos that are not stored, by reason."""
    unread_videos: int
    """Further videos that could not be read, or have the bytes of another one."""
    dropped_hours: dict[str, float]
    """Hours of stretches that are not stored, by reason."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The facts of a corpus for an ethics board. They name no patient, file or person."""

    corpus: str
    key: str
    """Fingerprint of the private key of the pseudonyms."""
    settings: dict[str, Any]
    encoder: dict[str, str]
    sources: list[SourceProvenance]
    history: list[Change]


def read_provenance(store: Store) -> Provenance:
    """Return the provenance of a corpus, from its tables.

    Raises:
        ShardError: There is no corpus, or a table breaks the format.
    """
    corpus = CorpusFile.read(store)
    if corpus is None:
        raise ShardError(f"{store.address} contains no corpus; check the address")

    return Provenance(
        corpus=store.address,
        key=corpus.key,
        settings=corpus.settings,
        encoder=corpus.encoder,
        sources=[
            _source(Source.open(store, name, entry)) for name, entry in corpus.sources.items()
        ],
        history=corpus.history,
    )


def as_text(provenance: Provenance) -> str:
    """Return the provenance as one page of Markdown."""
    lines = [f"# Provenance of {provenance.corpus}", ""]
    hours = sum(source.hours for source in provenance.sources)
    lines += [
        f"{counted(len(provenance.sources), 'source')}, "
        f"{counted(sum(source.videos for source in provenance.sources), 'video')}, {hours:.2f} h. "
        f"The private key of the names of cases and videos is {provenance.key or 'unknown'}.",
        "",
    ]
    for source in provenance.sources:
        lines += [f"## {source.source} ({source.domain})", ""]
        lines += [f"- {name}: {value}" for name, value in _facts(source)]
        lines.append("")

    lines += ["## Changes after the first build", ""]
    lines += [f"- {_change(change)}" for change in provenance.history] or ["- none"]
    lines += ["", "## Settings", ""]
    for values in (provenance.settings, provenance.encoder):
        lines.append(f"- {', '.join(f'{name} {value}' for name, value in values.items())}")
    return "\n".join(lines) + "\n"


def as_html(provenance: Provenance) -> str:
    """Return the provenance as one HTML page without links to other files."""
    parts = [f"<h1>Provenance of {escape(provenance.corpus)}</h1>"]
    for source in provenance.sources:
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
            for name, value in _facts(source)
        )
        title = escape(f"{source.source} ({source.domain})")
        parts.append(f"<h2>{title}</h2><table>{rows}</table>")

    changes = "".join(f"<li>{escape(_change(change))}</li>" for change in provenance.history)
    parts.append(f"<h2>Changes after the first build</h2><ul>{changes or '<li>none</li>'}</ul>")
    settings = provenance.settings | provenance.encoder | {"private key": provenance.key}
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
        for name, value in settings.items()
    )
    parts.append(f"<h2>Settings</h2><table>{rows}</table>")
    style = (
        "body{font:16px sans-serif;max-width:50em;margin:2em auto}"
        "th{text-align:left;font-weight:normal;color:#555;padding-right:2em;vertical-align:top}"
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Provenance</title>'
        f"<style>{style}</style><body>{''.join(parts)}</body></html>\n"
    )


def as_json(provenance: Provenance) -> dict[str, Any]:
    """Return the provenance as JSON."""
    return asdict(provenance)


def _source(source: Source) -> SourceProvenance:
    entry, index = source.entry, source.index
    columns = {
        name: index.column(name).to_pylist()
        for name in ("video", "split", "license", "procedure", "duration_s")
    }
    licenses: dict[str, float] = defaultdict(float)
    procedures: dict[str, float] = defaultdict(float)
    for license, procedure, duration_s in zip(
        columns["license"], columns["procedure"], columns["duration_s"], strict=True
    ):
        licenses[license] += duration_s / 3600
        procedures[procedure] += duration_s / 3600
    split_of = dict(zip(columns["video"], columns["split"], strict=True))

    whole = Counter[str]()
    stretches: dict[str, float] = defaultdict(float)
    for row in source.dropped():
        if row.end_s == 0:
            whole[row.reason] += 1
        else:
            stretches[row.reason] += (row.end_s - row.start_s) / 3600
    return SourceProvenance(
        source=source.name,
        domain=entry.domain,
        licenses=_rounded(licenses),
        procedures=_rounded(procedures),
        videos=entry.videos,
        public_videos=entry.videos_public,
        cases=entry.cases,
        videos_per_split=dict(sorted(Counter(split_of.values()).items())),
        split_rule=entry.split_rule,
        hours=entry.hours,
        clips=entry.samples,
        bytes=entry.bytes,
        digest=entry.digest,
        dropped_videos=dict(sorted(whole.items())),
        unread_videos=max(0, entry.videos_failed - sum(whole.values())),
        dropped_hours=_rounded(stretches),
    )


def _facts(source: SourceProvenance) -> list[tuple[str, str]]:
    """Return names and values of a source, as words."""
    splits = ", ".join(f"{count} {split}" for split, count in source.videos_per_split.items())

    return [
        (
            "stored",
            f"{counted(source.videos, 'video')} ({splits}) of {counted(source.cases, 'case')}",
        ),
        ("stored splits", source.split_rule or "as given by the manifest or the options"),
        ("names", _names(source)),
        (
            "length",
            f"{source.hours:.4f} h in {counted(source.clips, 'clip')}, {source.bytes / 1e6:.1f} MB",
        ),
        ("licenses", _hours(source.licenses)),
        ("procedures", _hours(source.procedures)),
        ("videos not stored", _counts(source.dropped_videos)),
        ("videos not read", str(source.unread_videos)),
        ("stretches not stored", _hours(source.dropped_hours)),
        ("digest", source.digest),
    ]


def _names(source: SourceProvenance) -> str:
    if not source.public_videos:
        return "pseudonyms, made with the private key"
    if source.public_videos == source.videos:
        return "public: cases have their names, and videos their digests"
    return f"public for {counted(source.public_videos, 'video')}, pseudonyms for the others"


def _change(change: Change) -> str:
    return (
        f"{change.at} {change.command} of {change.source}: "
        f"{counted(change.videos_added, 'video')} added, {change.videos_removed} removed; "
        f"digest {change.digest_before[:12]} before, {change.digest_after[:12] or 'none'} after"
    )


def _rounded(hours: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in sorted(hours.items())}


def _hours(hours: Mapping[str, float]) -> str:
    words = ", ".join(f"{name or 'not stated'} {value:.4f} h" for name, value in hours.items())
    return words or "none"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
