"""Cards in the terminal: a table of several, or one in full."""

from collections.abc import Iterator, Sequence

from surgrec.tasks._card import TaskCard
from surgrec.tasks._describe import pretrained_encoders
from surgrec.terminal import escape, print_result, result_table

_SHOWN_CLASSES = 30


def print_cards(cards: Sequence[TaskCard], title: str) -> None:
    """Print a table with a row for each card."""
    table = result_table(
        title,
        left=("task", "domain", "kind", "metric", "split", "license of the data"),
        right=("classes",),
        wrap=True,
    )
    for card in cards:
        table.add_row(
            f"{card.name} (blocked)" if card.blocked else card.name,
            card.domain,
            card.kind,
            card.metric,
            split_text(card),
            escape(card.license),
            str(card.class_count or ""),
        )
    print_result(table)


def print_card(card: TaskCard) -> None:
    """Print all of one card, with the facts of its data set."""
    print_result(escape("\n".join(_lines(card))))


def split_text(card: TaskCard) -> str:
    """Return the names and the kind of a split: `fold1 to fold5 (official)`, or `official`."""
    names = card.split.names
    text = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}" if names else "clips"
    return text if text == card.split_kind else f"{text} ({card.split_kind})"


def _lines(card: TaskCard) -> Iterator[str]:
    """Yield the lines of a card."""
    preset, protocol = card.data_set, card.protocol
    yield f"{card.name}: {card.title}"
    if card.legacy:
        yield f"LEGACY, for comparison only: {card.legacy_reason} Use {', '.join(card.audited)}."
    if card.blocked:
        yield f"BLOCKED: {card.blocked}"
    yield ""

    # One fact per line.
    sizes = ", ".join(f"{size} {part}" for part, size in card.split.sizes.items())
    unit = "clips" if card.split.files else "cases"
    facts = {
        "data set": f"{preset.title}, preset {card.preset} ({card.domain})",
        "license": card.license,
        "task": f"{card.task}, of kind {card.kind}; a label holds for a {card.scope}",
        "classes": _classes(card),
        "case": preset.case_is,
        "split": f"{split_text(card)}, from {card.split.source}",
        "sizes": f"{sizes} {unit}" if sizes else "",
        "lists": f"{card.split.files}/ of the release" if card.split.files else "",
        "also": ", ".join(card.split.also),
        "metric": card.metric,
        "beside": ", ".join(card.beside),
        "protocol": f"{protocol.method}; a window every {protocol.stride_s:g} s, frames at "
        + (f"{protocol.fps:g} per second" if protocol.fps else "the rate of the encoder"),
    }
    yield from (f"{name + ':':<10} {text}" for name, text in facts.items() if text)

    # Lists of sentences.
    sections = {
        "handled here": card.handled,
        "traps of the data set": preset.traps,
        "faults of published protocols": card.faults,
        "findings of surgrec audit": [
            f"{name}: {count} test clips" for name, count in card.split.findings.items()
        ],
        "limits of this project": card.limits,
        "unknown": card.unknown,
        "overlaps with other sets": [overlap.sentence() for overlap in card.overlaps],
        "pretraining corpora with these videos": card.pretraining,
        "encoders whose pretraining data share videos, by name": pretrained_encoders(card),
    }
    for title, sentences in sections.items():
        if sentences:
            yield from ("", f"{title}:")
            yield from (f"- {sentence}" for sentence in sentences)


def _classes(card: TaskCard) -> str:
    names = card.class_names
    if not names:
        return f"{card.class_count}, without published names" if card.class_count else ""
    more = f" and {len(names) - _SHOWN_CLASSES} more" if len(names) > _SHOWN_CLASSES else ""
    return f"{len(names)}: {', '.join(names[:_SHOWN_CLASSES])}{more}"
