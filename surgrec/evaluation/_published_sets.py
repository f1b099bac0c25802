"""Compare the sources of test cases with published sets that weights were trained on, by name."""

from collections.abc import Sequence

from surgrec.duplicates import overlaps_by_name
from surgrec.errors import ConfigError, cut
from surgrec.evaluation._audit import Check, SplitAudit
from surgrec.runs.drawn import PretrainingData
from surgrec.splits import CaseVideo

_MOST_TEXT = 400
"""Characters of the reasons in a message."""


def audit_published_sets(
    test: Sequence[CaseVideo], pretraining: PretrainingData, *, allow_overlap: bool
) -> SplitAudit:
    """Count the test cases of sources that share videos with named pretraining data.

    Weights of other projects have no record of videos, but name their data. A name proves no
    overlap of single cases, as a project may have left out the test part of a set.

    Args:
        test: Videos of the test cases.
        pretraining: The data that the encoder and its initial weights were trained on.
        allow_overlap: Continue if a source shares videos with these data.

    Raises:
        ConfigError: A source does, and no option allows it.
    """
    if not pretraining.published:
        return SplitAudit(checks=[], overrides=[])
    reasons = {
        source: overlaps_by_name(source, pretraining.published)
        for source in sorted({video.source for video in test})
    }
    cases = {video.case_name for video in test}
    shared = {video.case_name for video in test if reasons[video.source]}
    check = Check(
        check="test cases of sources that share videos with named pretraining data",
        found=len(shared),
        of=len(cases),
    )
    if not shared:
        return SplitAudit(checks=[check], overrides=[])

    sentences = "; ".join(each for group in reasons.values() for each in group)
    finding = (
        f"{len(shared)} of {len(cases)} test cases are of sources that share videos with the "
        f"published sets that the encoder was pretrained on ({cut(sentences, _MOST_TEXT)})"
    )
    if not allow_overlap:
        raise ConfigError(
            f"{finding}; test on others, or give --allow_pretraining_overlap true, which the "
            "result will record"
        )
    override = f"allowed by --allow_pretraining_overlap: {finding}"
    return SplitAudit(checks=[check], overrides=[override])
