"""Every card is complete, and a wrong one is refused by its file and its key."""

import os
import re
from pathlib import Path

import pytest

from surgrec.audit import audit_split, read_split_clips
from surgrec.errors import ConfigError
from surgrec.scores.kinds import METRICS_OF
from surgrec.tasks import LEGACY, card_names, describe_card, find_cards, read_card

CARDS = [name for name in card_names() if not name.startswith(LEGACY)]
LEGACY_CARDS = [name for name in card_names() if name.startswith(LEGACY)]
SPLITS = os.environ.get("SURGREC_SPLITS")
GOOD = """
title: Cholec80, phases
preset: cholec80
task: phase
kind: phases
scope: moment
split: {names: [tecno], source: TeCNO}
metric: macro_f1
beside: [edit]
"""


@pytest.mark.parametrize("name", card_names())
def test_a_card_names_its_split_and_metrics_of_its_kind(name: str) -> None:
    card = read_card(name)
    assert card.name == name
    assert {card.metric, *card.beside} <= set(METRICS_OF[card.kind])
    assert card.split.source
    assert card.class_count or card.kind == "numbers" or "number of classes" in card.unknown
    assert len(card.class_names) in (0, card.class_count)
    names_of_classes = [text for text in card.unknown if text.startswith("names of the ")]
    assert bool(card.class_names) or card.kind == "numbers" or names_of_classes


@pytest.mark.parametrize("name", CARDS)
def test_the_name_of_a_card_begins_with_its_preset(name: str) -> None:
    card = read_card(name)
    assert name.startswith(f"{card.preset}-")
    assert card.split_kind in ("official", "convention", "ours")
    assert not card.audited


@pytest.mark.parametrize("name", LEGACY_CARDS)
def test_a_legacy_card_says_why_and_names_audited_cards(name: str) -> None:
    card = read_card(name)
    assert card.legacy
    assert card.legacy_reason.endswith(".")
    assert card.audited
    assert not [other for other in find_cards(card.audited) if other.legacy]


@pytest.mark.skipif(SPLITS is None, reason="SURGREC_SPLITS names no folder")
@pytest.mark.parametrize(
    "name",
    [name for name in LEGACY_CARDS if (Path(SPLITS or "") / read_card(name).split.files).is_dir()],
)
def test_a_legacy_card_equals_the_released_lists(name: str) -> None:
    card = read_card(name)
    clips = read_split_clips([str(Path(SPLITS or "") / card.split.files)])
    assert {part: len(rows) for part, rows in clips.parts.items()} == card.split.sizes
    classes = [clips.classes[str(number)] for number in range(len(clips.classes))]
    assert [{plain(each) for each in names} for names in classes] == [
        {plain(each)} for each in card.class_names
    ]
    found = [each for each in audit_split(clips).findings if each.severity == "fail"]
    # Of two parts that are equal, a card has this finding alone.
    equal = {each.parts for each in found if each.name == "equal_parts"}
    failing = {
        each.name: each.found
        for each in found
        if each.name == "equal_parts" or each.parts not in equal
    }
    assert failing == card.split.findings


def plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def test_a_card_as_json_has_the_facts_of_its_data_set() -> None:
    shown = describe_card(read_card("cholec80-phase"))
    assert (shown["domain"], shown["num_classes"], shown["classes"][0]) == (
        *("laparoscopy", 7),
        "Preparation",
    )
    assert shown["split"]["kind"] == "convention"
    assert any("45 of the 50 videos of CholecT50" in line for line in shown["overlaps"])
    assert "surgrec_mae" in shown["pretrained_encoders"]


def test_a_pattern_finds_legacy_cards_only_if_it_names_them() -> None:
    assert [card.name for card in find_cards(["cholec80-*", "cholec80-phase"])] == [
        *("cholec80-phase", "cholec80-tool"),
    ]
    assert [card.name for card in find_cards(["*"])] == CARDS
    assert [card.name for card in find_cards([f"{LEGACY}*"])] == LEGACY_CARDS


def test_an_unknown_task_is_refused_with_those_it_may_mean() -> None:
    with pytest.raises(ConfigError, match="no task 'cholec80-phases'; did you mean cholec80-phase"):
        read_card("cholec80-phases")
    with pytest.raises(ConfigError, match=r"no task matches 'eye-\*'"):
        find_cards(["eye-*"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("metric:", "metrics:", "'metrics' is not accepted; did you mean 'metric'?"),
        ("metric: macro_f1", "metric: f1", "metric has 'f1'; choose from those of the kind phases"),
        ("beside: [edit]", "beside: [map]", "beside has 'map'; choose from those of the kind"),
        ("beside: [edit]", "beside: [macro_f1]", "beside: macro_f1 is the headline metric"),
        ("preset: cholec80", "preset: cholec8", "preset: there is no preset 'cholec8'"),
        ("kind: phases", "kind: phase", "kind is 'phase'; give"),
        ("task: phase", "task: phases", "task is 'phases'; cholec80 has labels of phase, tool"),
        ("[tecno]", "[tecn]", "split.names has 'tecn'; choose from those of cholec80: endonet"),
        ("[tecno]", "[tecno, endonet]", r"several kinds \(convention, official\)"),
        ("names: [tecno]", "files: a", "split.files is for legacy cards"),
        ("names: [tecno], ", "", "split: give either names of splits of the preset, or files"),
        ("source: TeCNO", "source: a, sizes: {tests: 1}", "sizes has 'tests'; choose from"),
        ("source: TeCNO", "source: a, sizes: {test: -1}", "test is -1; give 0 to"),
        ("title:", "legacy: true\ntitle:", "legacy is true, and legacy_reason is ''"),
        ("title:", "name: a\ntitle:", "name is not a key of cards"),
        ("title:", "classes: [a, b]\ntitle:", "cholec80 has those of phase; remove them here"),
        ("title:", "protocol: {stride_s: 0}\ntitle:", "stride_s is 0.* give more than 0"),
        ("scope: moment\n", "", "scope is missing"),
    ],
)
def test_a_wrong_card_is_refused_by_its_file_and_key(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    assert read_card(str(path)).split_kind == "convention"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message) as refused:
        read_card(str(path))
    assert str(refused.value).startswith(f"{path}")
    assert "\n" not in str(refused.value)
