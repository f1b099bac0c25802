"""The tables of docs/benchmark.md."""

from collections.abc import Iterator, Sequence

from surgrec.tasks._card import TaskCard
from surgrec.tasks._terminal_table import split_text


def cards_markdown(cards: Sequence[TaskCard]) -> str:
    """Return a Markdown table of the cards without legacy ones, and one of the legacy ones."""
    return "\n".join([*_audited(cards), "", *_legacy(cards)]) + "\n"


def _audited(cards: Sequence[TaskCard]) -> Iterator[str]:
    yield "| task | data set | domain | kind | classes | metric | split | cases | license |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for card in cards:
        if not card.legacy:
            yield _row(
                f"`{card.name}`",
                card.data_set.title,
                card.domain,
                card.kind,
                str(card.class_count or ""),
                f"`{card.metric}`",
                split_text(card),
                _sizes(card),
                card.license,
            )


def _legacy(cards: Sequence[TaskCard]) -> Iterator[str]:
    yield "| legacy task | clips | val is test | test clips of train cases | why not to trust it |"
    yield "|---|---|---|---|---|"
    for card in cards:
        if card.legacy:
            findings = card.split.findings
            yield _row(
                f"`{card.name}`",
                _sizes(card),
                "yes" if "equal_parts" in findings else "no",
                str(findings.get("shared_cases", 0)),
                card.legacy_reason,
            )


def _sizes(card: TaskCard) -> str:
    """Return the sizes of the parts, such as `40 / 8 / 32`."""
    return " / ".join(map(str, card.split.sizes.values()))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
