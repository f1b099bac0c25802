"""Videos of a hospital with their manifest, and a corpus built from them without interruption."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.tool import QUICK, run_tool, write_csv
from tests.support.videos import make_video


@dataclass(frozen=True, kw_only=True)
class Hospital:
    """Seven videos in two sources, and the corpus of all of them."""

    manifest: Path
    corpus: Path
    private: Path


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    """Return the hospital, to be read only.

    Source `lap` has three groups (two train, one val), source `cat` has one.
    """
    folder = tmp_path_factory.mktemp("hospital")
    rows = []
    for number, seconds in enumerate((8, 6, 9, 4.5, 5, 7, 3)):
        source, domain = ("lap", "laparoscopy") if number < 5 else ("cat", "cataract")
        path = make_video(
            folder / "videos" / f"{number}.mp4",
            seconds=seconds,
            rate=25,
            arguments=("-vf", f"hue=h={50 * number}"),
        )
        rows.append(
            {
                "path": path.relative_to(folder),
                "source": source,
                "domain": domain,
                "case": f"patient-{number // 2}",
                "split": "val" if number == 4 else "train",
            }
        )
    manifest = write_csv(folder / "videos.csv", rows)
    hospital = Hospital(manifest=manifest, corpus=folder / "corpus", private=folder / "private")
    built = run_tool(
        "build",
        "--manifest",
        manifest,
        "--out",
        hospital.corpus,
        "--private",
        hospital.private,
        "--workers",
        1,
        *QUICK,
    )
    assert built.returncode == 0, built.stderr
    return hospital
