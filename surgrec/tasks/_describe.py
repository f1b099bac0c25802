"""A card as JSON values, with the facts of its data set."""

from dataclasses import asdict
from typing import Any

from surgrec.duplicates import overlaps_by_name
from surgrec.encoders import preset_names, read_preset
from surgrec.tasks._card import TaskCard


def describe_card(card: TaskCard) -> dict[str, Any]:
    """Return the fields of a card, and the facts of its data set, as JSON values."""
    preset = card.data_set
    return {
        "name": card.name,
        **{key: value for key, value in asdict(card).items() if key != "name"},
        "split": {**asdict(card.split), "kind": card.split_kind},
        "classes": list(card.class_names),
        "num_classes": card.class_count,
        "data_set": preset.title,
        "domain": card.domain,
        "license": card.license,
        "case_is": preset.case_is,
        "traps": preset.traps,
        "overlaps": [overlap.sentence() for overlap in card.overlaps],
        "pretrained_encoders": pretrained_encoders(card),
    }


def pretrained_encoders(card: TaskCard) -> list[str]:
    """Return the presets of encoders whose pretraining data share videos with the set, by name."""
    return [
        name
        for name in preset_names()
        if overlaps_by_name(card.preset, read_preset(name).pretraining.data)
    ]
