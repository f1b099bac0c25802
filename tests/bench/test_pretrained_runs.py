"""An ablation from pretraining to the page: the mixture of the runs is all that may differ."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.benches import SmallBench, started
from tests.bench.trees import rendered, write_trees
from tests.support.in_process import train

pytestmark = pytest.mark.slow

TASK = "cat21-phase"
MIXTURES = {
    "balanced": "[{by: source, alpha: 0.0}]",
    "natural": "[{by: source, alpha: 1.0}]",
}
SMALL = (
    *("--encoder.width", 24, "--encoder.depth", 1, "--encoder.num_heads", 2),
    *("--encoder.patch_size", 16, "--encoder.num_frames", 4, "--encoder.crop_px", 32),
    *("--objective.mask_ratio", 0.5),
)


def test_runs_of_two_mixtures_are_compared_in_pairs_on_the_page(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    runs = {
        method: [pretrain(tiny_corpus, tmp_path, method, seed) for seed in (0, 1)]
        for method in MIXTURES
    }
    write_trees(tmp_path / "data", rendered(tmp_path / "phantom"), ["cat21"])
    bench = SmallBench(
        root=tmp_path / "data",
        tasks=[TASK],
        encoders=runs,
        out=tmp_path / "out",
        options=("--ablation", "balanced", "--stride_s", "0.5"),
    )

    # A run with another learning rate is refused before anything is computed.
    rate = ("--optimizer.lr.value", 1e-3)
    other = pretrain(tiny_corpus, tmp_path / "other", "natural", 1, *rate)
    refused = replace(bench, encoders=runs | {"natural": [runs["natural"][0], other]}).run()
    assert refused.returncode == 1
    message = " ".join(refused.stderr.split())
    assert "seeds 0 and 1 also differ in config.optimizer.lr.value; train them again" in message
    assert not bench.out.exists()

    # Four runs are evaluated, and their methods compared.
    run = bench.run()
    assert run.returncode == 0, run.stderr[-3000:]
    names = ("balanced", "balanced.2", "natural", "natural.2")
    assert set(started(run)) >= {f"evaluate/{TASK}/{name}" for name in names}
    (pair,) = bench.content["ablation"]
    scores = [float(bench.rows[TASK, method]["value"]) for method in MIXTURES]
    assert pair["difference"] == pytest.approx(scores[0] - scores[1], abs=1e-6)
    assert pair["low"] <= pair["difference"] <= pair["high"]
    assert pair["verdict"] == "not shown", "there are two test cases"

    # The table of pairs says what was compared, and what differs.
    page = bench.page
    assert "Balanced or natural sampling in pretraining" in page
    assert "verdict of balanced" in page
    assert f"{pair['difference']:+.3f} [{pair['low']:+.3f}, {pair['high']:+.3f}]" in page
    assert "balanced minus natural, paired over cases" in page
    assert "over the pretraining seeds 0, 1." in page
    _, _, rest = page.partition("The recorded configs of the runs differ in ")
    keys = rest.partition(", and in nothing else.")[0].split(", ")
    assert "order.mixture.stages.0.levels.0.alpha" in keys
    assert all(key.startswith("order.mixture.") for key in keys)


def pretrain(corpus: Path, folder: Path, method: str, seed: int, *options: object) -> Path:
    """Pretrain a tiny MAE for two steps with the mixture of a method; return its run."""
    run = folder / f"{method}-{seed}"
    mixture = ("--seed", seed, "--mixture.levels", MIXTURES[method])
    train("mae", corpus, run, *mixture, *SMALL, *options)
    return run
