"""Odd pictures under curation: overlays that hide or flicker, cuts everywhere, and none at all.

One build with overlays masked and shots cut gets all of them. Each is stored with what was found,
or named with its reason.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.parquet as parquet
import pytest

from tests.hostile.harness import run_command
from tests.support.tool import QUICK, build_folder, ffmpeg, read_report

pytestmark = pytest.mark.slow

SECONDS = 6
SECONDS_OF_BUILD = 600.0
CURATION = ("overlays", "mask", "shots", "true", "black", "true", "frozen", "true")


@dataclass(frozen=True)
class Odd:
    """One odd video."""

    name: str
    source: str
    """Graph of ffmpeg that draws it."""
    told: str
    """Expression of all that the report says about it."""
    seconds: float = SECONDS
    """Stored seconds; 0: the video is named with the reason `told`."""
    arguments: Sequence[object] = ()


def drawn(filters: str, size: str = "128x96", rate: int = 8) -> str:
    """Return a moving picture behind filters."""
    return f"testsrc2=size={size}:rate={rate}:duration={SECONDS},{filters}"


def flat(color: str, size: str = "128x96") -> str:
    return f"color={color}:size={size}:rate=8:duration={SECONDS}"


def dropped(reason: str) -> str:
    return f"curation drops 6.0 s {reason}, which leaves no 1 s in a row; .*"


MASKED = r"static overlays, masked: \d+,\d+,\d+,\d+; "
STILL = "not searched for static overlays: most of the picture stands still; 0 shot cuts"
FEW = "not searched for static overlays: only 6 of {} pictures show something new; "
BOX = "drawbox=x=8:y=8:w=40:h=12:c=gray:t=fill"
FLASH = "drawbox=c=white:t=fill:enable='eq(n,24)'"
EACH_SECOND = "geq='mod(X*7+Y*3+floor(T)*97,256)':128:128"
RANDOM = f"nullsrc=size=128x96:rate=8:duration={SECONDS},geq=random(1)*255:128:128"
CUTS = "5 shot cuts at 1.00, 2.00, 3.00, 4.00, 5.00 s"
# fmt: off
KINDS = [
    Odd("black", flat("black"), dropped("black"), 0),
    Odd("white", flat("white"), dropped("frozen"), 0),
    Odd("one_picture", f"{flat('gray')},drawgrid=w=16:h=16:c=red", dropped("frozen"), 0),
    Odd("box_over_all", drawn("drawbox=c=gray:t=fill"), dropped("frozen"), 0),
    Odd("wide", drawn("null", size="512x16"), dropped("frozen"), 0),
    Odd("noise", RANDOM, "0 shot cuts"),
    Odd("cut_every_second", f"{flat('black')},{EACH_SECOND}", FEW.format(32) + CUTS),
    Odd("fade", drawn(f"fade=in:0:{8 * SECONDS}"), "1 shot cut at 0.12 s", 5.875),
    Odd("flash", drawn(FLASH), MASKED + "1 shot cut at 3.00 s"),
    Odd("box_that_stays", drawn(BOX), MASKED + "0 shot cuts"),
    Odd("box_that_comes_late", drawn(f"{BOX}:enable='gt(t,4)'"), MASKED + "0 shot cuts"),
    Odd("frame_of_a_box", drawn("drawbox=c=blue:t=20"), STILL),
    Odd("half_that_stays", drawn("drawbox=w=64:c=gray:t=fill"), STILL),
    Odd("grid_over_all", drawn("drawgrid=x=0:y=40:w=3:h=200:t=1:c=white"), STILL),
    Odd("tiny", drawn("null", size="16x16"), STILL),
    Odd("one_per_second", drawn("null", rate=1), FEW.format(6) + "0 shot cuts"),
    Odd("gray", drawn("format=gray"), MASKED + "0 shot cuts", arguments=("-pix_fmt", "gray")),
]
# fmt: on


@dataclass(frozen=True)
class Built:
    """What a build stored and told."""

    status: int
    report: dict[str, dict[str, str]]
    seconds: dict[str, float]
    """Stored seconds of each video, by its name in the corpus."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("curated") / "input"
    (folder / "videos").mkdir(parents=True)
    for kind in KINDS:
        source = ("-f", "lavfi", "-i", kind.source, *kind.arguments)
        ffmpeg(*source, "-preset", "ultrafast", folder / "videos" / f"{kind.name}.mp4")
    words = [
        word
        for name, value in zip(CURATION[::2], CURATION[1::2], strict=True)
        for word in (f"--curate.{name}", value)
    ]
    command = (*build_folder(folder / "videos"), "--out", folder / "corpus", "--workers", 2)
    whole = ("surgrec-shard", *command, *QUICK, *words)
    run = run_command(whole, folder, {}, SECONDS_OF_BUILD)
    assert "Traceback" not in run.out + run.errors, run.errors
    seconds: dict[str, float] = {}
    for row in parquet.read_table(folder / "corpus" / "lap" / "index.parquet").to_pylist():
        seconds[row["video"]] = seconds.get(row["video"], 0.0) + row["duration_s"]
    return Built(run.status, read_report(folder / "corpus.private"), seconds)


def test_odd_pictures_are_curated_right_or_named(kind: Odd, built: Built) -> None:
    row = built.report[f"{kind.name}.mp4"]
    assert (row["status"] == "packed") is bool(kind.seconds), row
    assert re.fullmatch(kind.told, row["notes"] + row["detail"]), row
    stored_s = built.seconds.get(row["corpus_video"], 0.0)
    assert stored_s == pytest.approx(kind.seconds, abs=0.3)


def test_no_odd_picture_is_left_without_a_line(built: Built) -> None:
    assert built.status == 3
    assert sorted(built.report) == sorted(f"{kind.name}.mp4" for kind in KINDS)
