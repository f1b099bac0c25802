"""Every Python example of a document runs as it is printed, or says why it does not.

The examples of a page run in one namespace, in a folder with a corpus, a run and a video under the
names that the documents use. A comment before a block says why it is not run here:
`<!-- not run: REASON -->` or `<!-- run by tests/FILE.py -->`.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from surgrec_shard.encode import EncodeSettings

from surgrec.errors import ConfigError
from surgrec.manifest import Video
from surgrec.models import Encoder, EncoderConfig, save_encoder
from tests.support.processes import ROOT
from tests.support.results import write_result
from tests.support.videos import build_corpus, make_video
from tests.support.weight_layouts import random_tensors, vjepa_encoder, vjepa_file, vjepa_predictor
from tests.test_documented_commands import documents

ENCODING = EncodeSettings(
    short_side_px=64, fps=8.0, clip_s=8.0, min_clip_s=4.0, crf=30, preset="ultrafast"
)
ENCODER = EncoderConfig(
    width=24, depth=1, num_heads=2, patch_size=16, tubelet_size=2, num_frames=16, crop_px=32
)
SPLIT = ("0123456789abcdef_10-20.mp4 polyp\n", "0123456789abcdef_30-40.mp4 polyp\n")
"""Lists of train and test whose clips are of one case, by the names of Kvasir-Capsule."""

SMALLER = {
    "num_workers=8": "num_workers=1",
    "steps=1000": "steps=2",
    "steps=90_000": "steps=resumed + 2",
    'open_corpus("s3://videos/corpus")': 'open_corpus("corpus")',
    'open_store("s3://corpora/surgery")': 'open_store("store")',
}
"""Parts of examples that are replaced: workers, lengths of a training, addresses of stores."""

CLASSIFIER = """
class Flat(torch.nn.Module):
    def forward(self, pictures):
        return pictures.flatten(1).mean(1)

classifier = encoder = Flat()
"""
TRAINING = """
model = torch.nn.Conv3d(3, 2, kernel_size=16, stride=16)

def train_step(video):
    assert video.shape == (8, 3, 16, 224, 224)
"""
PARTS = """
from torch.utils.data import DataLoader
import transformers
from surgrec.clips import *
from surgrec.stream import Mixture, Stream

stream = Stream(surgrec.open_corpus("corpus"), Mixture(), seed=0)
rank, world_size, resumed, device = 3, 8, 5, torch.device("cpu")
"""
SETUP = {
    "README.md": TRAINING,
    "docs/python.md": TRAINING,
    "docs/curation.md": CLASSIFIER,
    "docs/encoders.md": CLASSIFIER,
    "surgrec/clips/README.md": TRAINING + PARTS,
    "surgrec/duplicates/README.md": "videos = [(PICTURES, TIMES), (PICTURES, TIMES)]",
    "surgrec/features/README.md": "clips = torch.zeros(2, 3, 16, 48, 64, dtype=torch.uint8)",
    "surgrec/models/README.md": "clips = torch.zeros(2, 3, 16, 32, 32)",
}
"""What the reader of a page has: a network, a loop, parts that another page makes."""

RAISES = {"surgrec/audit/README.md": ConfigError}
"""Pages whose last line shows an error."""


class Example(NamedTuple):
    """A block of Python in a document."""

    code: str
    left_out: str
    """Why it is not run here; empty: it is."""


def examples_of(page: Path) -> list[Example]:
    """Return the Python blocks of a document, each with the comment before it."""
    text = page.read_text(encoding="utf-8")
    pattern = r"^(?:<!-- ((?:not run: |run by ).+) -->\n)?```python\n(.*?)^```"
    found = re.findall(pattern, text, re.MULTILINE | re.DOTALL)
    return [Example(code, left_out) for left_out, code in found]


PAGES = {
    str(page.relative_to(ROOT)): examples for page in documents() if (examples := examples_of(page))
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name."""
    folder = tmp_path_factory.mktemp("documents")
    videos = [
        Video(
            path=make_video(folder / f"videos/{name}.mp4", seconds=16, pattern=pattern),
            source="cholec80",
            domain="laparoscopy",
            case=name,
            split="train",
        )
        for name, pattern in (("video01", "testsrc2"), ("video02", "mandelbrot"))
    ]
    private = folder / "corpus.private"
    build_corpus(folder / "corpus", videos, private=private, encode=ENCODING, public=True)
    for name in ("operation", "op", "case-7"):
        (folder / f"{name}.mp4").symlink_to(folder / "videos/video01.mp4")

    torch.manual_seed(0)
    for name in ("runs/a/encoder", "runs/jepa/encoder", "vitl16"):
        path = folder / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_encoder(Encoder(ENCODER), path, {"config": {"sampling_fps": 4.0}, "init_from": None})
    write_result(folder / "runs/a/evaluation/phase", probabilities=True)
    write_result(folder / "results/dinov2-phase", seed=1)

    encoder = random_tensors(vjepa_encoder(192, 12, 768, 16))
    predictor = random_tensors(vjepa_predictor(192, 48, 2, 2))
    vjepa_file(folder / "vitl.pt", encoder=encoder, target_encoder=encoder, predictor=predictor)

    split = folder / "splits/kvasir-capsule"
    split.mkdir(parents=True)
    for part, lines in zip(("train", "test"), SPLIT, strict=True):
        (split / f"{part}.txt").write_text(lines, encoding="utf-8")
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(
    page: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, object] = {"PICTURES": _pictures(), "TIMES": np.arange(80) / 8}
    exec("import torch\nimport surgrec\n" + SETUP.get(page, ""), names)

    codes = [example.code for example in PAGES[page] if not example.left_out]
    for number, code in enumerate(codes, 1):
        for printed, smaller in SMALLER.items():
            code = code.replace(printed, smaller)
        program = compile(code, f"{page}, example {number}", "exec")
        if page in RAISES and number == len(codes):
            with pytest.raises(RAISES[page]):
                exec(program, names)
        else:
            exec(program, names)


def test_an_example_that_is_not_run_has_a_reason() -> None:
    examples = [example for page in PAGES.values() for example in page]
    reasons = [example.left_out for example in examples if example.left_out]
    assert len(examples) - len(reasons) >= 20, "most examples run"
    named = re.findall(r"tests/[\w./-]+", " ".join(reasons))
    assert len(named) == len(reasons), "the test that runs it, or that makes the same calls"
    assert [path for path in named if not (ROOT / path).exists()] == []


def _pictures() -> np.ndarray:
    """Ten seconds of gray pictures, eight per second."""
    return np.random.default_rng(0).integers(0, 255, (80, 64, 96), dtype=np.uint8)
