"""The prompts: conditions, orders of options, frames and their times."""

from surgrec.vlms._config import PromptConfig
from surgrec.vlms._prompts import (
    MAIN,
    Question,
    conditions,
    frame_numbers,
    image_captions,
    introduction,
    option_orders,
    question_text,
)


def test_conditions_are_the_scored_one_the_controls_and_all_variations() -> None:
    found = conditions(PromptConfig(wordings=2), num_orders=2)
    assert [each.name for each in found] == [
        "main",
        "no_image",
        "other_case",
        "wording_1_order_2",
        "wording_2_order_1",
        "wording_2_order_2",
    ]
    assert [each.is_variation for each in found] == [False] * 3 + [True] * 3
    assert conditions(PromptConfig(wordings=1, controls=()), num_orders=1) == [MAIN]


def test_orders_are_different_permutations_that_depend_on_the_seed_alone() -> None:
    orders = option_orders(5, 8, seed=3)
    assert orders[0] == (0, 1, 2, 3, 4)
    assert len(set(orders)) == 8
    assert all(sorted(each) == [0, 1, 2, 3, 4] for each in orders)
    assert orders == option_orders(5, 8, seed=3)
    assert orders[:4] == option_orders(5, 4, seed=3)
    assert orders[1:] != option_orders(5, 8, seed=4)[1:]


def test_few_options_have_few_orders() -> None:
    for seed in range(5):
        assert sorted(option_orders(2, 24, seed)) == [(0, 1), (1, 0)]
    assert len(option_orders(3, 24, 0)) == 6
    assert option_orders(1, 3, 0) == [(0,)]


def test_an_answer_is_read_in_the_order_in_which_the_options_were_shown() -> None:
    names = ("irrigation", "access", "closure")
    asked = Question(task="phase", names=names, several=False)
    for code, name in zip("ABC", names, strict=True):
        assert f"{code}) {name}" in question_text(asked, 0, "line")
        assert asked.read(f"Answer: {code}") == name
    assert asked.read("D") is None


def test_several_classes_are_booleans_by_name() -> None:
    asked = Question(task="tool", names=("clipper", "hook"), several=True)
    text = question_text(asked, 1, "line")
    assert "- clipper\n- hook" in text
    assert "true or false" in text
    assert asked.read('{"hook": true, "clipper": false}') == ("hook",)
    assert asked.read('{"hook": true}') is None


def test_the_three_wordings_differ_and_name_the_task() -> None:
    for several in (False, True):
        asked = Question(task="tool_use", names=("access", "closure"), several=several)
        texts = {question_text(asked, wording, "json") for wording in range(3)}
        assert len(texts) == 3
        assert all("tool use" in text for text in texts)


def test_frames_are_evenly_spaced_and_end_at_the_label() -> None:
    assert frame_numbers(16, 1) == [15]
    assert frame_numbers(16, 16) == list(range(16))
    assert frame_numbers(4, 2) == [0, 3]
    for wanted in range(1, 17):
        numbers = frame_numbers(16, wanted)
        assert len(set(numbers)) == wanted
        assert numbers[-1] == 15


def test_times_are_those_before_the_last_image_or_of_the_video() -> None:
    times = [60.0, 61.25, 62.5]
    assert image_captions(times, "window") == [
        "Image 1, 2.50 s before the last image:",
        "Image 2, 1.25 s before the last image:",
        "Image 3 (the last image):",
    ]
    assert image_captions(times, "video")[1] == "Image 2, 1 min 1.2 s after the start of the video:"
    assert image_captions(times[:1], "none") == ["Image 1:"]


def test_the_introduction_says_how_many_images_there_are() -> None:
    assert introduction(0, "") == "The images of this surgical video are not shown."
    assert introduction(8, "A cholecystectomy.").startswith("A cholecystectomy. These are 8 images")
