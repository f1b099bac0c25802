"""The parser of answers: options in a fixed form, never the article "A"."""

import pytest

from surgrec.vlms._answers import parse_booleans, parse_choice

NAMES = ["access", "clipping_cutting", "closure"]
CODES = ["A", "B", "C"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B", 1),
        (" (b). ", 1),
        ("**B**", 1),
        ("B)", 1),
        ("Answer: B", 1),
        ("I see clips.\n**Answer:** B.", 1),
        ("The final answer: (C)", 2),
        ("Answer: B) clipping cutting", 1),
        ("B - clipping_cutting", 1),
        ("Clipping Cutting", 1),
        ("answer: closure", 2),
        ('{"answer": "B"}', 1),
        ('```json\n{"answer": "clipping_cutting"}\n```', 1),
        ('{"Answer": "A) access"}', 0),
        ('"C"', 2),
        ("<think>Answer: A?\n</think>\nC", 2),
        ("Answer: A\nNo, wait.\nAnswer: C", 2),
        # A statement in a sentence.
        ("The answer is B.", 1),
        ("The correct answer is (B).", 1),
        ("I see clips. The answer is **B**, because the duct is clipped.", 1),
        ("The answer is: A", 0),
        ("The answer is A.", 0),
        ("The answer is A because a grasper is visible.", 0),
        ("The answer is **A**.\nA grasper is visible.", 0),
        ("The answer is B) clipping_cutting.", 1),
        ("The answer is clipping cutting.", 1),
        ("The answer is A. No, I was wrong. The answer is C.", 2),
        ("The answer is B.\nThe answer is supported by the clips.", 1),
        ("It is not A. The answer is B.", 1),
        ("Answer: A. A grasper is visible.", 0),
        ("Answer: option C", 2),
        ("Final answer: B, because of the clips", 1),
        ("Option B", 1),
        ("Option B.", 1),
        ("I choose option C.", 2),
        ("Option B: clipping_cutting", 1),
        ("Option (A) is correct, since the trocar is placed.", 0),
        ("The correct option is B.", 1),
        ('{"answer": "Option B"}', 1),
        # LaTeX, as models trained on mathematics write it.
        ("\\boxed{B}", 1),
        ("The answer is $\\boxed{\\text{A}}$.", 0),
        ("\\boxed{A}, no: \\boxed{C}", 2),
        ("Answer: \\boxed{clipping_cutting}", 1),
        # A line of its own.
        ("B\n\nExplanation: A grasper holds the duct.", 1),
        ("A\nA grasper is visible.", 0),
        ("B) clipping_cutting\nbecause the duct is clipped", 1),
        ("**C**\nThe gallbladder is gone. Option B is not right.", 2),
        ("The duct is clipped.\n\n**B**", 1),
    ],
)
def test_an_option_in_a_fixed_form_is_read(text: str, expected: int) -> None:
    assert parse_choice(text, CODES, NAMES) == expected


@pytest.mark.parametrize(
    "text",
    [
        "A grasper holds the gallbladder.",
        "a closure",
        "Answer: A clip is placed",
        "Answer: A or B",
        "A) closure",
        "This is not access.",
        "access and closure",
        "D",
        "",
        '{"answer": "A", "Answer": "B"}',
        '{"answer": true}',
        '{"answer": ["A"]}',
        '{"phase": "A"}',
        '{"answer": "A',
        "<think>It may be\nAnswer: A",
        "A" * 200_000,
        "[" * 20_000,
        # The article, in and after a form.
        "A grasper is visible",
        "A grasper is visible.\nA clip applier is visible.",
        "The answer is A grasper.",
        "The answer is a matter of taste.",
        "Option A grasper",
        "An option a surgeon has is to wait.",
        # Two codes, or a code with the name of another option.
        "The answer is A or B.",
        "The answer is B, C",
        "The answer is (A) and (B).",
        "Answer: A) closure",
        "The answer is A) closure.",
        "Answer: B/C",
        "Option A or option C",
        "Option B.\nOption C.",
        "Options A and B",
        "A\nB\nC",
        "A) access\nB) clipping_cutting\nC) closure",
        "B\nIt could also be option C.",
        "B\n\nC",
        "\\boxed{A, B}",
        "\\boxed{}",
        "\\boxed{B} or \\boxed{D}",
        # Denied, doubted or asked.
        "The answer is not B.",
        "I don't think the answer is B.",
        "If the answer is B, the duct is clipped.",
        "Is the answer B?",
        "The answer is B?",
        "It is not option B.",
        "Option B is wrong.",
        "The incorrect answer is B.",
        "Option D",
        "The answer is D.",
        "The answer is B" + "B" * 50_000,
        "not the answer is B. " * 2_000,
    ],
)
def test_whatever_has_another_form_is_not_read(text: str) -> None:
    assert parse_choice(text, CODES, NAMES) is None


def test_a_name_that_two_options_share_is_not_read() -> None:
    assert parse_choice("clip cut", ["A", "B"], ["clip_cut", "Clip cut"]) is None
    assert parse_choice("clip_cut", ["A", "B"], ["clip_cut", "Clip cut"]) == 0


def test_numbers_are_codes_of_many_options() -> None:
    codes = [str(number) for number in range(1, 31)]
    names = [f"step {number}" for number in range(1, 31)]
    assert parse_choice("12", codes, names) == 11
    assert parse_choice('{"answer": 30}', codes, names) == 29
    assert parse_choice("Answer: 12) step 12", codes, names) == 11
    assert parse_choice("31", codes, names) is None
    assert parse_choice("The answer is 12.", codes, names) == 11
    assert parse_choice("The answer is 3 clips.", codes, names) is None
    assert parse_choice("The answer is 3.5", codes, names) is None
    assert parse_choice("The answer is 1 or 2.", codes, names) is None


def test_booleans_need_every_name_and_nothing_but_booleans() -> None:
    names = ["grasper", "clip_applier"]
    assert parse_booleans('{"grasper": true, "clip_applier": false}', names) == [True, False]
    assert parse_booleans('Answer: {"Grasper": false, "clip applier": true}', names) == [
        False,
        True,
    ]
    assert parse_booleans('```\n{"grasper": true, "clip_applier": true}\n```', names) == [True] * 2
    for text in (
        '{"grasper": true}',
        '{"grasper": "yes", "clip_applier": 1}',
        '{"grasper": true, "clip_applier": fa',
        "grasper",
        "[true, false]",
    ):
        assert parse_booleans(text, names) is None
