"""The whole way of a benchmark: continued, extended, and with defects that it must show."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.benches import SmallBench, assert_the_page_opens, started, write_encoder
from tests.bench.trees import Tree, rendered, write_trees

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rendered(tmp_path_factory.mktemp("phantom") / "videos")


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("encoders")
    return {
        name: write_encoder(folder / f"{name}.safetensors", seed=seed, constant=name == "constant")
        for seed, name in enumerate(("first", "second", "constant"))
    }


def test_a_finished_benchmark_computes_only_what_is_new(
    phantom: Path, encoders: dict[str, Path], tmp_path: Path
) -> None:
    write_trees(tmp_path / "data", phantom, ["autolaparo"])
    two = {name: encoders[name] for name in ("first", "second")}
    bench = SmallBench(
        root=tmp_path / "data", tasks=["autolaparo-phase"], encoders=two, out=tmp_path / "out"
    )
    refused = replace(bench, options=("--allow_incomplete", "false")).run()
    assert refused.returncode == 1
    assert "missing: videos: 6 of 21" in refused.stderr
    assert "1 task of 1 have no complete copy; nothing was built" in refused.stderr
    assert not (bench.out / "corpora").exists()

    assert bench.run().returncode == 0
    first = bench.tables()
    assert "allowed by --allow_incomplete" in bench.page
    assert "allowed by --allow_unknown_pretraining" in bench.page
    again = bench.run()
    assert started(again) == []
    assert bench.tables() == first

    # A further encoder costs its own steps; a constant one is degenerate.
    more = replace(bench, encoders=encoders)
    assert started(more.run()) == [
        "evaluate/autolaparo-phase/constant",
        "compare/tasks/autolaparo-phase/comparison",
        "compare/comparison",
    ]
    assert more.rows["autolaparo-phase", "constant"]["degenerate"] == "True"
    assert "degenerate, because all test windows have the same prediction: constant" in more.page
    assert {row["rank"] for row in more.rows.values()} == {""}

    # A lost result is computed again, with the same bytes.
    shutil.rmtree(bench.out / "tasks/autolaparo-phase/results/second")
    assert started(bench.run())[0] == "evaluate/autolaparo-phase/second"
    assert bench.tables() == first
    assert_the_page_opens(bench.out / "index.html", tmp_path)


def test_planted_defects_are_named_and_cost_only_their_own_rows(
    phantom: Path, encoders: dict[str, Path], tmp_path: Path
) -> None:
    root = tmp_path / "data"
    write_trees(root, phantom, ["autolaparo", "cat21", "cholec80", "m2cai16-workflow"])
    plant_leak(root / "autolaparo")
    plant_header(root / "m2cai16-workflow")
    plant_wrong_rates(Tree(folder=root / "cholec80", phantom=phantom))
    bench = SmallBench(
        root=root,
        tasks=["autolaparo-phase", "cat21-phase", "cholec80-phase", "m2cai16-workflow-phase"],
        encoders={name: encoders[name] for name in ("first", "constant")},
        out=tmp_path / "out",
    )
    assert bench.run().returncode == 3
    tasks = {task["name"]: task for task in bench.content["tasks"]}

    # A test video with the bytes of a train video.
    leak = " ".join([tasks["autolaparo-phase"]["sentence"], *tasks["autolaparo-phase"]["losses"]])
    assert "no case of the corpus matches '15'" in leak
    assert "15.mp4: the file has the same bytes as" in leak

    # Labels of another frame rate than that of the videos: too late, and too early.
    wrong = " ".join(tasks["cholec80-phase"]["incomplete"])
    assert "video01.mp4: labels end at 16.0 s, but the video lasts 8.0 s" in wrong
    assert "labels of phase end at about 0.5 of the video in 2 videos, as on a wrong clock" in wrong

    # A header that was read as a label.
    header = tasks["m2cai16-workflow-phase"]
    assert "header" in " ".join([header["sentence"], *header["findings"]])

    # An encoder whose features are constant.
    assert bench.rows["cat21-phase", "constant"]["degenerate"] == "True"
    assert bench.rows["cat21-phase", "first"]["rank"] == ""

    # Other rows have their scores, and the page names each defect.
    scored = {name for (name, _), row in bench.rows.items() if row["value"] != "nan"}
    assert "cat21-phase" in scored
    assert "autolaparo-phase" not in scored
    for words in (
        *("same bytes as", "labels end at 16.0 s", "as on a wrong clock", "header"),
        *("degenerate, because all test windows", "constant on cat21-phase"),
    ):
        assert words in bench.page


def plant_leak(copy: Path) -> None:
    """Replace a test video by a copy of a train video."""
    shutil.copy(copy / "videos/01.mp4", copy / "videos/15.mp4")


def plant_header(copy: Path) -> None:
    """Repeat the header of a table within the rows, as files do that were joined."""
    for path in sorted(copy.glob("*_dataset/*.txt")):
        lines = path.read_text(encoding="utf-8").splitlines()
        lines[10:30] = [f"{frame}\tPhase" for frame in range(9, 29)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def plant_wrong_rates(tree: Tree) -> None:
    """Store a video at half the rate of the frames that its labels count, and two at twice it."""
    tree.video("videos/video01.mp4", seed=1, rate=12.5)
    tree.video("videos/video02.mp4", seed=2, rate=50)
    tree.video("videos/video03.mp4", seed=3, rate=50)
