"""Audit of a split: all findings, and whether it may be scored."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from surgrec.audit._clips import SplitClips
from surgrec.audit._duplicates import check_copies
from surgrec.audit._findings import SEVERITIES, Finding, allow_findings, some
from surgrec.audit._pairs import check_pairs
from surgrec.audit._rows import check_labels, check_rows, check_side_tracks
from surgrec.audit._sizes import Baseline, Precision, baselines, check_sizes, test_precision
from surgrec.errors import ConfigError
from surgrec.text import counted


@dataclass(frozen=True, kw_only=True)
class PartCounts:
    """The size of a part."""

    part: str
    clips: int
    cases: int
    videos: int
    classes: int


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The findings about a split."""

    split: str
    case_rule: str
    """How the cases were found, in words."""
    digests: dict[str, str]
    """SHA-256 of each file of the split."""
    parts: tuple[PartCounts, ...]
    findings: tuple[Finding, ...]
    """The worst ones first."""
    baselines: tuple[Baseline, ...]
    precision: Precision | None

    @property
    def failures(self) -> list[Finding]:
        """The findings that make the audit fail."""
        return [finding for finding in self.findings if finding.fails]

    @property
    def overrides(self) -> list[str]:
        """Sentences for every report: the findings that only an option allows."""
        return [
            f"allowed by --allow {finding.name}: {finding.sentence}"
            for finding in self.findings
            if finding.allowed
        ]


def audit_split(
    split: SplitClips,
    *,
    claim: float | None = None,
    allow: Collection[str] = (),
    further: Sequence[Finding] = (),
) -> Audit:
    """Check a split. Nothing is decoded.

    Args:
        split: Its rows.
        claim: Smallest difference of accuracies that is claimed, 0 to 1.
        allow: Names of findings that do not make the audit fail.
        further: Findings from elsewhere, such as those of `check_pretraining`.

    Raises:
        ConfigError: There is no finding of a name in `allow`.
    """
    # Every check runs, whatever the others find.
    findings = [
        *check_pairs(split),
        *check_copies(split),
        *further,
        *check_rows(split),
        *check_labels(split),
        *check_side_tracks(split),
        *check_sizes(split, claim),
        *_absent(split),
    ]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))

    return Audit(
        split=split.name,
        case_rule=split.case_rule,
        digests=split.digests,
        parts=tuple(
            PartCounts(
                part=part,
                clips=len(clips),
                cases=len({clip.case for clip in clips}),
                videos=len({clip.video for clip in clips}),
                classes=len({clip.label for clip in clips} - {""}),
            )
            for part, clips in split.parts.items()
        ),
        findings=tuple(allow_findings(findings, allow)),
        baselines=tuple(baselines(split)),
        precision=test_precision(split),
    )


def require_passed(audit: Audit, *, option: str = "") -> None:
    """Refuse a split whose audit failed.

    Args:
        audit: The audit.
        option: Option of the caller that allows findings; empty if it has none.

    Raises:
        ConfigError: Names the worst finding, and the option that allows it.
    """
    if not audit.failures:
        return
    first, *others = audit.failures
    examples = f" ({', '.join(first.examples)})" if first.examples else ""
    more = f", and it has {counted(len(others), 'other failing finding')}" if others else ""
    names = list(dict.fromkeys(finding.name for finding in audit.failures))
    allowing = f', or give {option} "{names}", which the result records' if option else ""
    raise ConfigError(
        f"split {audit.split}: {first.sentence}{examples}{more}; {first.remedy}{allowing}"
    )


def _absent(split: SplitClips) -> list[Finding]:
    if not split.absent:
        return []
    return [
        Finding(
            name="absent_cases",
            severity="note",
            found=len(split.absent),
            of=len(split.absent) + len({clip.case for clip in split.clips}),
            sentence=f"the corpus lacks {counted(len(split.absent), 'case')} that the split names",
            remedy="say that these cases are missing",
            examples=some(split.absent),
        )
    ]
