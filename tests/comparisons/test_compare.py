"""Methods are compared on the same windows, by paired statistics, or not at all."""

import csv
from pathlib import Path

import numpy as np
import pytest

from surgrec.comparisons import compare, comparison_tables, write_tables
from surgrec.comparisons._pair_tables import pair_sentence
from surgrec.errors import ConfigError
from surgrec.scores import GroundTruth, case_weights, count_predictions, estimate, swap_test
from surgrec.scores.paired import holm
from tests.support.results import write_result


def test_a_better_encoder_has_the_verdict_and_the_first_rank(tmp_path: Path) -> None:
    strong = write_result(tmp_path / "strong", skill=0.9, seed=1)
    weak = write_result(tmp_path / "weak", skill=0.3, seed=2)
    found = compare([str(weak), f"good={strong}"])

    (data_set,) = found.data_sets
    assert [method.name for method in found.methods] == [str(weak), "good"]
    pair = next(each for each in data_set.pairs if each.classifier == "knn")
    assert (pair.first, pair.second, pair.verdict) == (str(weak), "good", "worse")
    assert pair.wins.losses == 12
    first, second = found.standings["knn"]
    assert (first.method, first.rank, first.better, first.worse) == ("good", 1.0, 1, 0)
    assert (second.method, second.rank, second.better, second.worse) == (str(weak), 2.0, 0, 1)
    assert list(found.standings) == ["knn", "logistic"]


def test_numbers_equal_those_of_the_scores_room(tmp_path: Path) -> None:
    folders = [write_result(tmp_path / name, seed=n) for n, name in enumerate(("a", "b"))]
    (data_set,) = compare(list(map(str, folders))).data_sets
    rows = [data_set.row(str(folder), "knn") for folder in folders]
    truth = GroundTruth(
        case=data_set.scored.case, label=data_set.windows.label, num_cases=12, num_classes=3
    )
    labels = [row.predicted[0].value for row in rows if row]
    counts = [count_predictions(truth, label) for label in labels]
    scores = [each.scores(case_weights(12))["macro_f1"] for each in counts]
    assert rows[0] is not None
    assert rows[0].metrics["macro_f1"] == estimate(scores[0], 12)

    pair = data_set.pairs[0]
    assert pair.difference == estimate(scores[0] - scores[1], 12)
    assert pair.p_value == swap_test(counts[:1], counts[1:], "macro_f1")
    by_case = [each.scores(np.eye(12))["macro_f1"] for each in counts]
    assert pair.case_differences == pytest.approx(by_case[0] - by_case[1])


def test_patients_and_not_their_cases_are_exchanged(tmp_path: Path) -> None:
    patients = [index // 3 for index in range(12)]
    words = [str(write_result(tmp_path / "a", skill=0.9, units={"patients": patients}))]
    words.append(str(write_result(tmp_path / "b", skill=0.3, seed=1)))
    (data_set,) = compare(words).data_sets
    rows = [data_set.row(word, "knn") for word in words]
    tables = [row.tables for row in rows if row]
    pair = data_set.pairs[0]
    assert pair.p_value == swap_test(*tables, "macro_f1", units=np.array(patients))
    assert pair.verdict == "not shown"  # four patients are too few
    assert data_set.size == "12 cases of 4 patients"
    assert "12 cases of 4 patients)" in pair_sentence(data_set, pair)


def test_p_values_are_corrected_over_pairs_and_data_sets(tmp_path: Path) -> None:
    words = []
    for number, task in enumerate(("phase", "tools")):
        for seed, name in enumerate(("a", "b", "c")):
            folder = tmp_path / task / name
            skill = 0.5 + 0.15 * seed
            write_result(folder, skill=skill, seed=10 * number + seed, task=task)
            words.append(f"{name}={folder}")
    found = compare(words)
    pairs = [pair for each in found.data_sets for pair in each.pairs if pair.classifier == "knn"]
    assert len(pairs) == 6
    assert [pair.corrected for pair in pairs] == holm([pair.p_value for pair in pairs])
    assert {standing.data_sets for standing in found.standings["knn"]} == {2}


def test_pretraining_seeds_of_one_name_are_averaged_and_spread(tmp_path: Path) -> None:
    words = [
        f"ours={write_result(tmp_path / f'ours{seed}', skill=0.6 + 0.1 * seed, seed=seed)}"
        for seed in range(3)
    ]
    found = compare([*words, f"other={write_result(tmp_path / 'other', seed=5)}"])
    (data_set,) = found.data_sets
    ours, other = data_set.row("ours", "knn"), data_set.row("other", "knn")
    assert ours is not None
    assert other is not None
    scores = [each.scores(np.ones((1, 12)))["macro_f1"][0] for each in ours.tables]
    assert ours.seeds == 3
    assert ours.metrics["macro_f1"].value == pytest.approx(np.mean(scores))
    assert ours.seed_spread == pytest.approx(np.std(scores, ddof=1))
    assert np.isnan(other.seed_spread)
    assert ours.with_seeds["macro_f1"].value == ours.metrics["macro_f1"].value
    assert ours.with_seeds["macro_f1"].low < ours.metrics["macro_f1"].low
    assert np.isnan(other.with_seeds["macro_f1"].low)
    assert len(found.methods[0].encoders) == 3


def test_a_degenerate_row_is_named_and_left_out_of_means(tmp_path: Path) -> None:
    words = [
        f"a={write_result(tmp_path / 'phase/a', seed=1)}",
        f"b={write_result(tmp_path / 'phase/b', seed=2)}",
        f"a={write_result(tmp_path / 'tools/a', seed=1, task='tools')}",
        f"b={write_result(tmp_path / 'tools/b', seed=2, task='tools', constant=True)}",
    ]
    found = compare(words)
    assert found.left_out == [
        "tools, split official: b, trained, knn predicts the same for all windows; "
        "no mean, rank, pair or correction includes it"
    ]
    phase = found.data_sets[0].row("b", "knn")
    standing = next(each for each in found.standings["knn"] if each.method == "b")
    assert phase is not None
    assert (standing.data_sets, standing.mean) == (1, phase.value)
    assert found.standings["logistic"][0].data_sets == 2


def test_a_degenerate_row_takes_no_part_in_verdicts(tmp_path: Path) -> None:
    words = [
        f"good={write_result(tmp_path / 'good', skill=0.95, seed=1)}",
        f"weak={write_result(tmp_path / 'weak', skill=0.5, seed=2)}",
    ]
    (two,) = compare(words).data_sets
    constant = write_result(tmp_path / "constant", seed=3, constant=True)
    found = compare([*words, f"constant={constant}"])
    (three,) = found.data_sets
    knn = [[pair for pair in each.pairs if pair.classifier == "knn"] for each in (two, three)]
    assert [(pair.first, pair.second) for pair in knn[1]] == [("good", "weak")]
    assert knn[1][0].corrected == knn[0][0].corrected
    assert {each.method: each.worse for each in found.standings["knn"]}["constant"] == 0
    assert "constant, trained, knn" in found.left_out[0]


def test_baselines_stand_beside_the_methods_once(tmp_path: Path) -> None:
    words = [str(write_result(tmp_path / name, seed=n)) for n, name in enumerate("ab")]
    (data_set,) = compare(words).data_sets
    baselines = [row for row in data_set.rows if not row.method]
    assert [row.classifier for row in baselines] == ["majority", "prior"]
    assert baselines[0].degenerate
    random = [row for row in data_set.rows if row.features == "random"]
    assert [(row.method, row.seeds) for row in random] == [(word, 3) for word in words]


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"split": {"name": "official", "sha256": "12" * 32}}, "split files"),
        ({"corpus": {"digests": {"alpha": "00"}}}, "corpora"),
        (
            {
                "classes": [
                    {"value": v, "train": 1, "test": 1}
                    for v in ("access", "closure", "dissection", "extra")
                ]
            },
            "classes",
        ),
    ],
)
def test_results_on_other_data_are_not_paired(
    changes: dict, difference: str, tmp_path: Path
) -> None:
    first, second = write_result(tmp_path / "a"), write_result(tmp_path / "b", seed=1, **changes)
    with pytest.raises(ConfigError, match=f"{first} and {second} cannot be paired.* {difference}"):
        compare([str(first), str(second)])


def test_scores_of_videos_are_not_paired_with_those_of_windows(tmp_path: Path) -> None:
    first = write_result(tmp_path / "first", scope="video")
    with pytest.raises(ConfigError, match=r"other scopes of labels \(480 videos.*480 windows"):
        compare([str(first), str(write_result(tmp_path / "second"))])


def test_encoders_without_a_common_task_are_refused(tmp_path: Path) -> None:
    first = write_result(tmp_path / "a")
    second = write_result(tmp_path / "b", seed=1, task="tools")
    with pytest.raises(ConfigError, match="no two encoders have a task, split and primary class"):
        compare([str(first), str(second)])
    with pytest.raises(ConfigError, match="no two encoders"):
        compare([str(first)])


def test_probes_with_other_classifiers_are_data_sets_of_their_own(tmp_path: Path) -> None:
    runs = [str(tmp_path / name) for name in "ab"]
    for seed, run in enumerate(runs):
        encoder = {"sha256": run}
        write_result(Path(run, "evaluation/phase"), seed=seed, encoder=encoder)
        attentive = Path(run, "evaluation/phase-attentive")
        write_result(
            attentive,
            skill=0.3 + 0.6 * seed,
            seed=seed + 5,
            encoder=encoder,
            names={"knn": "attentive"},
            classifiers={"attentive": "attentive probe"},
            verdicts=[{"classifier": "attentive", "primary": True}],
        )
    found = compare(runs)
    assert [each.name for each in found.data_sets] == [
        "phase, split official, kNN",
        "phase, split official, attentive probe",
    ]
    assert [method.name for method in found.methods] == runs
    assert list(found.standings) == ["knn", "attentive", "logistic"]
    best = found.standings["attentive"][0]
    assert (best.method, best.rank, best.better, best.data_sets) == (runs[1], 1.0, 1, 1)
    tables = comparison_tables(found)
    assert tables.standings[1].title == "All data sets, attentive probe"
    assert f"attentive probe: {runs[0]} is worse than {runs[1]}" in tables.verdicts[1][1]


def test_a_result_given_twice_is_refused(tmp_path: Path) -> None:
    first = write_result(tmp_path / "a")
    with pytest.raises(ConfigError, match="have the same encoder and task"):
        compare([f"x={first}", f"x={first}"])


def test_findings_that_an_option_allowed_are_repeated(tmp_path: Path) -> None:
    words = [str(write_result(tmp_path / "a", overrides=["allowed by --x: overlap"]))]
    words.append(str(write_result(tmp_path / "b", seed=1)))
    assert compare(words).overrides == [
        f"{words[0]}, phase, split official: allowed by --x: overlap"
    ]


def test_answers_of_a_model_stand_beside_the_probes_of_encoders(tmp_path: Path) -> None:
    encoders = [write_result(tmp_path / name, seed=seed) for seed, name in enumerate("ab")]
    attentive = write_result(
        tmp_path / "c",
        names={"knn": "attentive"},
        classifiers={"attentive": "attentive probe"},
        verdicts=[{"classifier": "attentive", "primary": True}],
    )
    model = write_result(
        tmp_path / "vlm",
        skill=0.95,
        seed=5,
        names={"knn": "answers", "logistic": "answers_no_image"},
        encoder={"name": "qwen", "kind": "vlm", "sha256": "qwen"},
        classifiers={"answers": "answers", "answers_no_image": "answers without images"},
        verdicts=[],
    )
    # The order of the words does not matter.
    comparison = compare([str(each) for each in (model, *encoders, attentive)])
    by_probe = {each.primary: each for each in comparison.data_sets}
    assert {*by_probe} == {"knn", "attentive"}

    pairs = {
        (pair.first, pair.second) for pair in by_probe["knn"].pairs if pair.classifier == "knn"
    }
    first, second = map(str, encoders)
    assert pairs == {(str(model), first), (str(model), second), (first, second)}
    assert len(by_probe["attentive"].primary_rows) == 2
    assert {each.method: each.rank for each in comparison.standings["knn"]}.keys() >= {str(model)}
    tables = comparison_tables(comparison).in_order
    assert any("answers without images" in row for table in tables for row in table.rows)

    # Two models alone are a data set of their own.
    other = write_result(
        tmp_path / "other",
        names={"knn": "answers", "logistic": "answers_no_image"},
        encoder={"name": "other", "kind": "vlm", "sha256": "other"},
        classifiers={"answers": "answers"},
        verdicts=[],
    )
    (alone,) = compare([str(model), str(other)]).data_sets
    assert {pair.classifier for pair in alone.pairs} == {"answers", "answers_no_image"}


def write_folds(folder: Path, name: str, skills: tuple[float, ...], cases: int = 6) -> list[str]:
    """Write the results of a method on folds with cases of their own, and return the words."""
    return [
        f"{name}="
        + str(
            write_result(
                folder / f"{name}{number}",
                skill=skill,
                cases=cases,
                seed=number,
                prefix=f"fold{number}-",
                encoder={"name": name, "sha256": name},
                split={"name": f"fold{number}", "sha256": f"{number}" * 64, "rule": {}},
            )
        )
        for number, skill in enumerate(skills)
    ]


def test_the_folds_of_a_task_count_once_by_their_mean(tmp_path: Path) -> None:
    words = [*write_folds(tmp_path, "a", (0.9, 0.8)), *write_folds(tmp_path, "b", (0.3, 0.4))]
    alone = compare(words)
    assert {pair.verdict for each in alone.data_sets for pair in each.pairs} == {"not shown"}

    found = compare(words, [["fold0", "fold1", "fold2"]])
    (mean,) = found.folds
    values = [each.row("a", "knn").value for each in found.data_sets]  # type: ignore[union-attr]
    row = mean.row("a", "knn")
    assert row
    assert row.value == pytest.approx(np.mean(values))
    assert row.metrics["macro_f1"].low < row.value < row.metrics["macro_f1"].high
    assert (len(mean.cases), mean.split) == (12, "fold0 + fold1")

    # Six cases of a fold are too few for a verdict, but twelve of both suffice.
    assert [pair.verdict for pair in mean.primary_pairs] == ["better"]
    assert all(each.pairs == [] for each in found.data_sets)
    first = found.standings["knn"][0]
    assert (first.method, first.data_sets, first.better) == ("a", 1, 1)

    write_tables(found, tmp_path / "out")
    with (tmp_path / "out/pairs.csv").open(newline="") as file:
        pairs = [row for row in csv.DictReader(file) if row["primary"] == "True"]
    assert [(row["split"], row["verdict"]) for row in pairs] == [("fold0 + fold1", "better")]
    titles = [table.title for table in comparison_tables(found).folds]
    assert titles[0] == "phase, mean over the folds fold0, fold1: scores"


def test_folds_that_share_test_cases_have_no_mean(tmp_path: Path) -> None:
    words = [
        f"{name}={path}"
        for name in ("a", "b")
        for split in ("fold0", "fold1")
        for path in [
            write_result(
                tmp_path / f"{name}{split}",
                encoder={"name": name, "sha256": name},
                split={"name": split, "sha256": split, "rule": {}},
            )
        ]
    ]
    found = compare(words, [["fold0", "fold1"]])
    assert found.folds == []
    assert "the test case alpha/case00 is in the folds fold0 and fold1" in found.left_out[0]
    assert [len(each.pairs) for each in found.data_sets] == [2, 2], "each counts by itself"
