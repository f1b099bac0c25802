"""SurgRec, a bare decoding loop and other loaders: same clips, same decode, same cores."""

import json
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from corpus import ORIGINALS, prepare_corpus, prepare_originals
from rounds import Contender, Setting, interleaved
from s3_server import PREFIX, far_store

from surgrec.cli import parse
from surgrec.storage.seaweed import BUCKET

Part = Literal["local", "resume", "s3", "originals"]

BARE, OURS, OUR_THREADS = "bare torchcodec loop", "surgrec, processes", "surgrec, threads"
_WEBDATASET = Contender(
    script="webdataset_loader",
    packages=["webdataset", "awscli"],
    environment="webdataset",
    resume_share=0.01,
)
LOADERS = {
    BARE: Contender(script="bare", no_s3="reads memory"),
    OURS: Contender(script="surgrec_loader"),
    OUR_THREADS: Contender(
        script="surgrec_loader", options={"num_workers": 0}, threads="decode_threads"
    ),
    "torch Dataset": Contender(
        script="torch_dataset", form="files", resume_share=0.0005, no_s3="reads files"
    ),
    "webdataset": _WEBDATASET,
    "webdataset, threads": Contender(**(vars(_WEBDATASET) | {"threads": "threads"})),
    "MosaicML Streaming": Contender(
        script="mosaic", packages=["mosaicml-streaming"], environment="mosaic", form="mds"
    ),
    "LitData": Contender(
        script="litdata_loader", packages=["litdata"], environment="litdata", form="litdata"
    ),
    "Energon": Contender(
        script="energon_loader", packages=["megatron-energon[s3]"], environment="energon"
    ),
}
CACHED = "surgrec, processes, disk cache"
DECORD = Contender(script="decord_originals", packages=["eva-decord"], environment="decord")


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Selection of measurements."""

    folder: Path
    """Folder of the corpus, the environments and the results; about 12 GB, made once."""
    parts: list[Part] = field(default_factory=lambda: ["local", "resume", "s3", "originals"])
    """Measurements to make."""
    contenders: list[str] = field(default_factory=list)
    """Loaders to measure, by name; empty: all."""
    rounds: int = 5
    """Rounds; each measures every loader once."""
    seconds: float = 10.0
    """Duration of the steady state, per loader and round."""
    clips: int = 2400
    """Stored clips of 10 s."""
    batch: int = 8
    """Clips per batch."""
    cores: int = 0
    """Cores of a loader, and its workers or threads; 0: all. On S3, one, and one for the server."""
    resume_step: int = 100_000
    """Step at which `resume` begins."""
    delay_ms: float = 30.0
    """Delay of each request to the S3 server."""
    results: str = "results.jsonl"
    """File in the folder that collects all figures; the tables are made from it."""
    report_only: bool = False
    """Print the tables of earlier measurements only."""

    def used_cores(self) -> list[int]:
        """Return the last `cores` cores."""
        cores = sorted(os.sched_getaffinity(0))
        return cores[-self.cores :] if self.cores else cores

    def setting(self) -> Setting:
        """Return the common settings of all loaders."""
        return Setting(folder=self.folder, batch=self.batch, seconds=self.seconds, clips=self.clips)

    def job(self, contender: Contender, **changes: Any) -> tuple[Contender, dict[str, Any]]:
        """Return a loader and its job on the benchmark's cores, with changes to the job."""
        job = self.setting().job(contender, changes.pop("cores", self.used_cores()))
        return contender, job | changes


def main(benchmark: Benchmark) -> None:
    """Measure and print."""
    results = benchmark.folder / benchmark.results
    if not benchmark.report_only:
        prepare_corpus(benchmark.folder, clips=benchmark.clips)

        # Convert the clips to the format of each loader.
        chosen = {
            name: each
            for name, each in LOADERS.items()
            if name in (benchmark.contenders or LOADERS)
        }
        for contender in chosen.values():
            benchmark.setting().convert(contender, benchmark.used_cores())

        # Append every figure to the results as it comes.
        run = time.strftime("%Y-%m-%d %H:%M:%S")
        for part in benchmark.parts:
            with results.open("a", encoding="utf-8") as file:
                for row in PARTS[part](benchmark, chosen):
                    file.write(json.dumps(row | {"run": run}) + "\n")
                    file.flush()

    rows = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    for part in benchmark.parts:
        _print_table(part, [row for row in rows if row["part"] == part])


def _local(benchmark: Benchmark, chosen: Mapping[str, Contender]) -> Iterator[dict[str, Any]]:
    jobs = {name: benchmark.job(each) for name, each in chosen.items()}
    yield from interleaved(benchmark.setting(), "local", jobs, benchmark.rounds)


def _resume(benchmark: Benchmark, chosen: Mapping[str, Contender]) -> Iterator[dict[str, Any]]:
    jobs = {
        name: benchmark.job(
            each, resume_step=round(benchmark.resume_step * each.resume_share), seconds=0.0
        )
        for name, each in chosen.items()
        if name != BARE
    }

    for row in interleaved(benchmark.setting(), "resume", jobs, benchmark.rounds):
        share = chosen[row["contender"]].resume_share
        if share < 1 and "first_batch_s" in row:
            measured = row["first_batch_s"]
            row |= {
                "measured_s": measured,
                "first_batch_s": measured / share,
                "extrapolated_from": share,
            }
        yield row


def _s3(benchmark: Benchmark, chosen: Mapping[str, Contender]) -> Iterator[dict[str, Any]]:
    """Put the server on the first core and the loader on the last; compare with local files."""
    server, *_, last = sorted(os.sched_getaffinity(0))
    remote = {name: each for name, each in chosen.items() if not each.no_s3}
    if OURS in chosen:
        remote[CACHED] = Contender(
            script="surgrec_loader", options={"cache_dir": "", "cache_gb": 8.0}
        )
    address = f"s3://{BUCKET}/{PREFIX}"
    jobs = {name: benchmark.job(each, cores=[last], s3=address) for name, each in remote.items()}
    for name in (BARE, OURS, OUR_THREADS):
        if name in chosen:
            jobs[f"{name}, local"] = benchmark.job(chosen[name], cores=[last])

    forms = sorted({each.form for each in remote.values()})
    with far_store(
        benchmark.folder, forms, delay_s=benchmark.delay_ms / 1000, core=server
    ) as variables:
        yield from interleaved(benchmark.setting(), "s3", jobs, benchmark.rounds, variables)

    for name, each in chosen.items():
        if each.no_s3 and name != BARE:
            yield {"part": "s3", "contender": name, "note": f"not on S3: {each.no_s3}"}


def _originals(benchmark: Benchmark, chosen: Mapping[str, Contender]) -> Iterator[dict[str, Any]]:
    """Measure decord on each resolution, one clip per batch, longer, as a clip takes seconds."""
    prepare_originals(prepare_corpus(benchmark.folder, clips=benchmark.clips))
    jobs = {OURS: benchmark.job(LOADERS[OURS])}
    for form in ORIGINALS:
        jobs[f"decord, {form}"] = benchmark.job(
            DECORD, form=form, batch=1, seconds=3 * benchmark.seconds
        )
    yield from interleaved(benchmark.setting(), "originals", jobs, benchmark.rounds)


PARTS = {"local": _local, "resume": _resume, "s3": _s3, "originals": _originals}


def _print_table(part: Part, rows: list[dict[str, Any]]) -> None:
    """Print medians over the rounds, and medians of the ratios within a round."""
    by_contender: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_contender[row["contender"]].append(row)

    columns = [
        "clips/s",
        "per core",
        "/ bare",
        "/ surgrec",
        "CPU ms/clip",
        "first batch s",
        "PSS MB",
        "rounds",
        "",
    ]
    print(f"\n## {part}\n| loader | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    rates = _rates(rows)
    for name, measured in by_contender.items():
        timed = [row for row in measured if "clips_per_s" in row]
        cells = [
            [row["clips_per_s"] for row in timed],
            [row["clips_per_s"] / row["cores"] for row in timed],
        ]

        # Ratios within a round.
        for reference in (BARE, OURS):
            paired = [row for row in timed if (reference, row["run"], row["round"]) in rates]
            cells.append(
                [row["clips_per_s"] / rates[reference, row["run"], row["round"]] for row in paired]
            )

        cells += [
            [row[figure] for row in measured if figure in row]
            for figure in ("cpu_ms_per_clip", "first_batch_s", "pss_mb")
        ]

        notes = {row["note"] for row in measured if "note" in row}
        notes |= {
            f"extrapolated from {row['extrapolated_from']:.2%} of the way"
            for row in measured
            if "extrapolated_from" in row
        }

        columns = [*map(_median, cells), str(len(measured)), "; ".join(sorted(notes))]
        print(f"| {name} | {' | '.join(columns)} |")


def _rates(rows: list[dict[str, Any]]) -> dict[tuple[str, str, int], float]:
    """Return clips per second by loader, run and round.

    If a loader was measured on local files too, those figures are the reference.
    """
    local = {row["contender"]: row for row in rows if row["contender"].endswith(", local")}
    return {
        (row["contender"].removesuffix(", local"), row["run"], row["round"]): row["clips_per_s"]
        for row in rows
        if "clips_per_s" in row and f"{row['contender']}, local" not in local
    }


def _median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3g}" if values else ""


if __name__ == "__main__":
    main(parse(Benchmark, prog="benchmarks/loader.py"))
