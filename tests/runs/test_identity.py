"""A resume compares what decides samples, views and masks, and nothing that did not exist yet."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from surgrec.runs.identity import compare_identities, different_lines, with_defaults
from surgrec.stream import Mixture
from surgrec.stream._order import Order
from surgrec.stream._shares import Stratum


@dataclass(frozen=True)
class Block:
    size: int
    shape: str = "square"


@dataclass(frozen=True)
class Config:
    seed: int
    rate: float = 4.0
    clip: float | None = None
    blocks: tuple[Block, ...] = (Block(1),)
    view: Block = field(default_factory=lambda: Block(3))


def test_tuples_and_lists_do_not_differ_but_numbers_do() -> None:
    saved = json.loads(json.dumps({"a": (1, 2), "b": {"c": 1.0}}))
    assert different_lines(saved, {"a": (1, 2), "b": {"c": 1.0}}) == []
    assert different_lines(saved, {"a": (1, 3), "b": {}}) == [
        "a: saved [1, 2], now [1, 3]",
        "b.c: saved 1.0, now null",
    ]


def test_objects_in_a_list_are_compared_one_by_one() -> None:
    assert different_lines([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 3}], "stages") == [
        "stages.1.a: saved 2, now 3"
    ]
    assert different_lines([{"a": 1}], [], "stages") == ['stages: saved [{"a": 1}], now []']


def test_newer_fields_of_a_config_had_their_defaults() -> None:
    config = Config(seed=1, rate=5.0, blocks=(Block(7, "round"), Block(8)), view=Block(9, "round"))
    saved = {"seed": 1, "blocks": [{"size": 7}, {"size": 8}], "view": {"size": 9}}
    assert with_defaults(saved, config) == {
        "seed": 1,
        "rate": 4.0,
        "clip": None,
        "blocks": [{"size": 7, "shape": "square"}, {"size": 8, "shape": "square"}],
        "view": {"size": 9, "shape": "square"},
    }


def test_a_removed_field_and_a_required_one_still_differ() -> None:
    completed = with_defaults({"old": 3}, Config(seed=1))
    assert completed["old"] == 3
    assert "seed" not in completed


def an_order(domain: str = "laparoscopy", clips: str = "clips") -> Order:
    strata = [
        Stratum(
            source=source,
            domain=kind,
            source_digest="d",
            source_rows_digest="r",
            source_clips_digest=clips,
            size=10,
        )
        for source, kind in (("alpha", "laparoscopy"), ("beta", domain), ("gamma", "cataract"))
    ]
    return Order(strata, Mixture(block=12, shuffle_block=2, shuffle_window=2), seed=0)


def an_identity(order: Order, **versions: int) -> dict[str, Any]:
    identity = {
        "recipe": "jepa",
        "versions": {"masks": 1, "views": 1, **versions},
        "order": order.identity(),
        "config": {"seed": 0},
        "init_from": None,
    }
    decoded: dict[str, Any] = json.loads(json.dumps(identity))
    return decoded


def differences(saved: dict[str, Any], current: dict[str, Any]) -> list[str]:
    return compare_identities(saved, current, Config(seed=0)).refused


def test_a_changed_domain_is_named_with_the_counts_that_it_changes() -> None:
    saved, current = an_identity(an_order()), an_identity(an_order("cataract"))
    assert differences(saved, current) == [
        "order.mixture.stages.0.counts.alpha: saved 3, now 6",
        "order.mixture.stages.0.counts.gamma: saved 6, now 3",
        'order.sources.beta.domain: saved "laparoscopy", now "cataract"',
    ]


@pytest.mark.parametrize(
    ("current", "line"),
    [
        (
            an_identity(an_order(clips="others")),
            "order.sources.alpha.clips: clips of other durations, sizes or numbers of frames than "
            "in the saved run",
        ),
        (an_identity(an_order(), masks=2), "versions.masks: saved 1, now 2"),
        (an_identity(an_order(), views=2), "versions.views: saved 1, now 2"),
        (an_identity(an_order(), crops=2), "versions.crops: saved 1, now 2"),
    ],
)
def test_whatever_changes_a_view_or_a_mask_is_a_difference(
    current: dict[str, Any], line: str
) -> None:
    assert line in differences(an_identity(an_order()), current)


def first_version(identity: dict[str, Any]) -> dict[str, Any]:
    """The identity as the first checkpoints recorded it."""
    old: dict[str, Any] = json.loads(json.dumps(identity))
    del old["versions"], old["order"]["version"]
    for stage in old["order"]["mixture"]["stages"]:
        del stage["counts"]
    for source in old["order"]["sources"].values():
        del source["clips"], source["domain"]
    return old


def test_a_checkpoint_of_the_first_version_resumes_and_tells_what_it_lacks() -> None:
    current = an_identity(an_order())
    comparison = compare_identities(first_version(current), current, Config(seed=0))
    assert comparison.refused == comparison.tuned == []
    assert comparison.unknown == [
        "domains",
        "counts per mixing block",
        "durations and sizes of clips",
    ]
    assert differences(first_version(current), an_identity(an_order(), masks=2)) == [
        "versions.masks: saved 1, now 2"
    ]


def test_a_new_field_of_the_mixture_at_its_default_is_no_difference() -> None:
    current = an_identity(an_order())
    saved = json.loads(json.dumps(current))
    del saved["order"]["mixture"]["min_duration_s"]
    assert differences(saved, current) == []
    current["order"]["mixture"]["min_duration_s"] = 2.0
    assert differences(saved, current) == ["order.mixture.min_duration_s: saved 0.0, now 2.0"]
