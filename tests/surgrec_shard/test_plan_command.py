import json
from pathlib import Path

import pytest
from surgrec_shard.cost import Prices, SourceWork, bill

from tests.support.tool import QUICK, run_here
from tests.support.videos import make_video

ENCODE = QUICK[:8]


def work(**changes: object) -> SourceWork:
    values = {
        "source": "ours",
        "videos": 100,
        "hours": 200.0,
        "longest_h": 6.0,
        "bytes_in": 10**12,
        "cores": 0.5,
        "encoder_cores": 0.1,
        "bytes_per_s": 50_000.0,
        "basis": "a test",
    }
    return SourceWork(**{**values, **changes})  # type: ignore[arg-type]


def test_a_bill_equals_the_one_worked_out_by_hand() -> None:
    total = bill(
        [work()],
        nodes=5,
        cores_per_node=4,
        clip_s=16.0,
        shard_bytes=512_000_000,
        prices=Prices(core_hour=0.04, gb_month=0.02, thousand_puts=0.005, gb_out=0.01),
        epochs=3.0,
    )
    # 200 h at half a core are 100 core-hours; 20 cores need 5 h. The longest video needs 3
    # core-hours, 9 minutes of all cores. The 4 cores of one node need 45 minutes instead.
    assert total.core_hours == 100
    assert total.wall_hours == 5
    assert total.tail_hours == pytest.approx(0.6)
    # Originals are read twice. 720,000 s at 50 kB are 36 GB: 71 shards, 4,292 parts of 8 MiB.
    assert total.gb_read == 2000
    assert total.gb_written == 36
    assert (total.shards, total.clips) == (71, 45_000)
    assert total.puts == 4292 + 3 * 71 + 4
    assert total.prices == pytest.approx(
        {
            "processor time": 4.0,
            "storage for a month": 0.72,
            "writing requests": 0.022545,
            "bytes read by the training": 1.08,
        }
    )


@pytest.mark.parametrize(
    ("encoder_cores", "nodes", "cores_per_node", "hours"),
    [
        (0.1, 1, 1, 0),
        (0.01, 1, 8, 0),  # its workers share the video
        (0.1, 1, 8, 6 * (0.1 - 0.5 / 8)),  # the encoder has one core
        (0.1, 10, 64, 6 * (0.1 - 0.5 / 640)),
        (0.01, 10, 64, 6 * (0.5 / 8 - 0.5 / 640)),  # eight decoders at most
        (9.0, 10, 1, 6 * (0.5 - 0.5 / 10)),  # never longer than on one core
    ],
)
def test_the_last_video_takes_as_long_as_its_decoders_or_its_encoder(
    encoder_cores: float, nodes: int, cores_per_node: int, hours: float
) -> None:
    total = bill(
        [work(encoder_cores=encoder_cores)],
        nodes=nodes,
        cores_per_node=cores_per_node,
        clip_s=16.0,
        shard_bytes=10**9,
        prices=Prices(),
    )
    assert total.tail_hours == pytest.approx(hours, abs=1e-12)
    assert total.prices == {}


def test_the_bytes_of_tried_videos_are_those_of_a_build(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for number, pattern in enumerate(("testsrc2", "mandelbrot")):
        make_video(videos / f"{number}.mp4", seconds=6, pattern=pattern)
    run = run_here("plan", "--videos", videos, "--samples", 2, "--json", *ENCODE)
    assert run.returncode == 0, run.stderr
    (source,) = json.loads(run.stdout)["sources"]
    assert source["videos"] == 2
    assert source["hours"] == pytest.approx(12 / 3600)
    assert source["cores"] > source["encoder_cores"] > 0

    built = run_here(
        *("build", "--videos", videos, "--source", "videos", "--domain", "any"),
        *("--out", tmp_path / "corpus", *ENCODE),
    )
    assert built.returncode == 0, built.stderr
    shards = sum(file.stat().st_size for file in (tmp_path / "corpus").rglob("*.tar"))
    planned = source["bytes_per_s"] * 12
    # A shard also has tar headers and the JSON of each clip.
    assert planned < shards < planned + 20_000


def test_a_plan_of_a_few_seconds_prints_no_figure_as_zero(tmp_path: Path) -> None:
    make_video(tmp_path / "short.mp4", seconds=6)
    run = run_here("plan", "--videos", tmp_path, "--samples", 1, *ENCODE)
    assert run.returncode == 0, run.stderr
    row = next(line for line in run.stdout.splitlines() if line.split()[:2] == ["videos", "1"])
    _, _, hours, longest, *others = row.split()
    assert hours == longest == "0.0017"
    assert all(float(figure) > 0 for figure in others), row
    assert float(run.stdout.split(" core-hours;")[0].split()[-1]) > 0


def test_a_video_that_cannot_be_read_is_named_and_left_out(tmp_path: Path) -> None:
    make_video(tmp_path / "good.mp4", seconds=6)
    manifest = tmp_path / "videos.csv"
    (tmp_path / "bad.mp4").write_bytes(b"no video" * 100)
    manifest.write_text(
        "path,source,domain,case,split\ngood.mp4,a,x,1,train\nbad.mp4,a,x,2,train\n"
    )
    run = run_here("plan", "--manifest", manifest, "--json", *ENCODE)
    assert run.returncode == 0, run.stderr
    assert "bad.mp4 is left out: the video cannot be read" in run.stderr
    assert json.loads(run.stdout)["sources"][0]["videos"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "nothing given; give one of --manifest FILE, --videos FOLDER and --hours NUMBER"),
        (("--hours", 1, "--videos", "."), "--videos and --hours given; give one of"),
        (("--hours", 1, "--resolution", "large"), "resolution is 'large'; give one of 480p,"),
    ],
)
def test_unclear_options_are_refused(words: tuple[object, ...], message: str) -> None:
    run = run_here("plan", *words)
    assert run.returncode == 1
    assert message in run.stderr


def test_hours_alone_give_figures_whose_basis_is_named() -> None:
    run = run_here("plan", "--hours", 2383, "--resolution", "1920x1080", "--json")
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    # 51.84 megapixels per second at 8 ms.
    assert result["total"]["core_hours"] == pytest.approx(2383 * 51.84 * 0.008)
    # A minute of 455 x 256 pixels at 8 per second takes 3.3 s to encode.
    encoder = result["sources"][0]["encoder_cores"]
    assert encoder == pytest.approx(3.3 / 60, rel=0.01)
    assert "--manifest measures yours" in result["sources"][0]["basis"]
