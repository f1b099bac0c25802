"""Short runs of V-JEPA 1, V-JEPA 2.1 and VideoMAE v2, with all options of each."""

from pathlib import Path

import pytest

from surgrec.models import encoder_provenance
from surgrec.runs import read_rows
from tests.support.in_process import train

FAST = ["--steps", 4, "--log.every", 1, "--log.samples", "true"]
VJEPA_1 = [
    *("--encoder.positions", "sincos3d"),
    *(
        "--optimizer.grad_clip",
        0.1,
        "--optimizer.grad_clip_each",
        "true",
        "--optimizer.grad_clip_start",
        2,
    ),
]
VJEPA_21 = [
    *(
        "--encoder.rope",
        "interleaved",
        "--encoder.rope_side",
        16,
        "--encoder.levels",
        "[0, 1, 2, 3]",
    ),
    *("--encoder.modality_embedding", "true", "--objective.predictor.context_head", "true"),
    *(
        "--objective.context",
        "{weight: 0.5, warmup_start: 0, warmup_end: 2}",
        "--objective.trim",
        "random",
    ),
    *("--objective.masks", "[{num_blocks: 4, spatial_scale: 0.2, lengths: [[16, 32], [64, 96]]}]"),
]
VIDEOMAE_2 = [
    "--views",
    3,
    "--objective.decoder_mask_ratio",
    0.5,
    "--augment",
    "{crop: multi_scale, flip: 0.0}",
]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("jepa", VJEPA_1, id="1"),
        pytest.param("jepa", VJEPA_21, id="21"),
        pytest.param("mae", VIDEOMAE_2, id="mae2"),
    ],
)
def test_a_run_with_all_options_of_a_method_counts_samples(
    tiny_corpus: Path, tmp_path: Path, name: str, options: list[object]
) -> None:
    train(name, tiny_corpus, tmp_path / "run", *FAST, *options)
    rows, samples = (
        read_rows(tmp_path / "run/metrics.jsonl"),
        read_rows(tmp_path / "run/samples.jsonl"),
    )
    assert [(row["step"], row["slot"]) for row in samples] == [
        (step, slot) for step in range(4) for slot in range(4)
    ]
    for row in rows:
        losses = [sample["loss"] for sample in samples if sample["step"] == row["step"]]
        assert sum(row["consumed"].values()) == 4, "samples, whatever the number of views"
        assert row["loss"] == pytest.approx(sum(losses) / 4)
        assert len(set(losses)) == 4
    assert {"token_std", "rankme", "between_clip_variance"} <= rows[-1].keys()
    for name in ("token_std", "copy_baseline_loss", "context_tokens"):
        assert [name in row for row in rows] == [False, False, False, True], name
    assert sum(encoder_provenance(tmp_path / "run/encoder.safetensors")["consumed"].values()) == 16
