"""Alarms: signs in the rows of a run that it is going wrong, each with what to try.

Everything is a pure function of rows, so an alarm can be read back from the files of a run.
"""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, TypeVar

AlarmKind = Literal["collapse", "baseline", "spikes", "loader", "rank", "probe", "drift"]
Rows: TypeAlias = Sequence[Mapping[str, Any]]
Row = TypeVar("Row", bound=Mapping[str, Any])

KEPT_ROWS = 400
"""Newest rows of metrics.jsonl that the alarms need; of older rows, those with diagnostics."""

COLLAPSE_SHARE = 0.25
"""A spread or rank of the targets below this share of its highest value is a collapse. Basis:
benchmarks/alarms.py. With gradients in the target, both fell below a sixth within 300 steps; in
healthy runs of two JEPAs, both stayed above 0.4 for 1,000 steps."""
_DIAGNOSED = 3
"""Newest diagnostics whose median is compared, so that a single batch raises no alarm. They are of
20 steps or more each; a median of more of them would not see the state before a quick collapse."""

BASELINE_SHARE = 1.0
"""A loss of at least this share of the loss of predicting the mean is no learning."""
BASELINE_STEPS = 1000
"""Steps before that are a warm-up: a new head begins above the baseline."""

SPIKE_FACTOR, SPIKES = 20.0, 3
"""A gradient norm above this many medians is a spike: a healthy run with batches of 8 reached 17.
Fewer spikes than this are single hard batches, which clipping or the moments of AdamW absorb."""

LOADER_SHARE = 0.2
"""Share of the time in which the ranks wait for data. Twice the tenth from which the loader limits
a training (surgrec/clips/SPEED.md)."""
RANK_SHARE, RANK_WAIT = 0.8, 0.1
"""A rank is slow if it is the last to get its data in this share of the steps, and costs the others
this share of the time."""

PROBE_LOSS, PROBE_NOISE = 0.1, 0.03
"""A fall of the score by this share of the best one is an alarm, if it is more than the noise of a
probe of some hundred windows. Basis: continued pretraining lost a third of a probe's score with a
falling loss and a constant rank."""
DRIFT_COSINE = 0.9
"""Features below this mean cosine with those of the initial weights have drifted. Basis: a surgical
continued pretraining fell from 1.0 to 0.84 and lost downstream."""

REARM_STEPS = 1000
"""Steps without the sign of an alarm after which it is given again."""

_RECENT = 100


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """A sign that a run is going wrong. One row of alarms.jsonl."""

    step: int
    """Steps done when it was seen."""
    kind: AlarmKind
    """Its kind."""
    text: str
    """One sentence: the finding and what to try."""
    rank: int | None = None
    """The rank that it is about, if it is about one."""

    @property
    def row(self) -> dict[str, Any]:
        """The row of alarms.jsonl."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class GivenAlarms:
    """The alarms that one start of a run has given, so that it does not repeat them at every sync.

    An alarm is given again after its sign was absent for `REARM_STEPS` steps. Alarms about two
    ranks are two alarms.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[AlarmKind, int | None], int] = {}

    def new(self, alarms: Sequence[Alarm], step: int) -> list[Alarm]:
        """Return the alarms to give.

        Args:
            alarms: All that hold, from `find_alarms`.
            step: Steps done.
        """
        new = [alarm for alarm in alarms if (alarm.kind, alarm.rank) not in self._last]
        self._last |= {(alarm.kind, alarm.rank): step for alarm in alarms}
        self._last = {sign: last for sign, last in self._last.items() if step - last < REARM_STEPS}
        return new


def find_alarms(
    rows: Rows, drift: Rows = (), probes: Rows = (), *, first_step: int = 0
) -> list[Alarm]:
    """Return the alarms that hold after the newest rows, at most one of each kind.

    Args:
        rows: Rows of metrics.jsonl, ascending: the newest `KEPT_ROWS`, and all with diagnostics.
        drift: Rows of drift.jsonl.
        probes: Rows of probe.jsonl.
        first_step: First step of the start. Speed and spikes are judged by its steps only, as
            earlier ones may have had another machine or another optimizer.

    Example:
        >>> [alarm.kind for alarm in find_alarms(read_rows(files.metrics))]
        ['collapse']
    """
    step = max((row["step"] + 1 for row in rows), default=0)
    step = max([step, *(row["step"] for row in (*drift, *probes))])

    # Spikes and slow machines are judged by rows of this start alone.
    own = rows if len(rows) >= _RECENT and rows[-_RECENT]["step"] >= first_step else []
    rank, slow_rank = _slow_rank(own) or (None, None)

    found: dict[AlarmKind, str | None] = {
        "collapse": _collapse(rows),
        "baseline": _baseline(rows),
        "spikes": _spikes(own),
        "loader": _loader(own),
        "rank": slow_rank,
        "probe": _probe(probes, drift),
        "drift": _drift(drift, probes),
    }

    return [
        Alarm(step=step, kind=kind, text=text, rank=rank if kind == "rank" else None)
        for kind, text in found.items()
        if text
    ]


def kept_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of metrics.jsonl that the alarms need, so that memory stays bounded."""
    older, newest = rows[:-KEPT_ROWS], rows[-KEPT_ROWS:]
    return [*(row for row in older if "token_std" in row), *newest]


def _collapse(rows: Rows) -> str | None:
    """Only targets that are features can collapse: those of a run with a momentum."""
    rows = [row for row in rows if "momentum" in row]
    for name, label in (("token_std", "spread"), ("rankme", "rank")):
        values = _values(rows, name)
        if len(values) < 2 * _DIAGNOSED:
            continue

        # The newest median beside the greatest one before.
        medians = [
            statistics.median(values[start : start + _DIAGNOSED])
            for start in range(len(values) - _DIAGNOSED + 1)
        ]
        if medians[-1] < COLLAPSE_SHARE * max(medians):
            return (
                f"the targets collapse: their {label} ({name}) is {medians[-1]:.3g}, down from "
                f"{max(medians):.3g}; check that no gradient reaches the target encoder, remove "
                "the checkpoints since it fell, and resume with --resume_with_changes optimizer "
                "and a smaller --optimizer.lr.value, or start again with a higher momentum"
            )
    return None


def _baseline(rows: Rows) -> str | None:
    baselines = _values(rows[-_RECENT:], "mean_baseline_loss")
    losses = _values(rows[-_RECENT:], "loss")
    if not baselines or len(losses) < _RECENT or rows[-1]["step"] < BASELINE_STEPS:
        return None
    loss, baseline = statistics.median(losses), statistics.median(baselines)
    if loss < BASELINE_SHARE * baseline:
        return None
    return (
        f"the model learns nothing: its loss is {loss:.3g}, and predicting the mean gives "
        f"{baseline:.3g}; look at the clips of the report, and start again with another "
        "--optimizer.lr.value or a longer warm-up"
    )


def _spikes(rows: Rows) -> str | None:
    norms = _values(rows[-3 * _RECENT :], "gradient_norm")
    if len(norms) < 2 * _RECENT:
        return None
    usual = statistics.median(norms[:-_RECENT])
    spikes = [norm for norm in norms[-_RECENT:] if norm > SPIKE_FACTOR * usual]
    if len(spikes) < SPIKES:
        return None
    return (
        f"the gradient has {len(spikes)} spikes in {_RECENT} steps, up to {max(spikes):.3g}, and "
        f"its usual norm is {usual:.3g}; resume with --resume_with_changes optimizer and "
        f"--optimizer.grad_clip {2 * usual:.2g}, or a smaller --optimizer.lr.value"
    )


def _loader(rows: Rows) -> str | None:
    share = _wait_share(rows, "data_wait_s")
    if share is None or share < LOADER_SHARE:
        return None
    return (
        f"the ranks wait for data {share:.0%} of the time; raise loader.num_workers, give the job "
        "more cores or a cache on a local disk (surgrec/clips/SPEED.md)"
    )


def _slow_rank(rows: Rows) -> tuple[int, str] | None:
    recent = [row for row in rows[-_RECENT:] if "data_wait_rank" in row]

    # The time that the others lose by waiting for the last rank.
    lost = _wait_share(
        [{**row, "lost_s": row["data_wait_s"] - row["data_wait_median_s"]} for row in recent],
        "lost_s",
    )
    if lost is None or lost < RANK_WAIT:
        return None

    rank, count = Counter(row["data_wait_rank"] for row in recent).most_common(1)[0]
    if count < RANK_SHARE * len(recent):
        return None
    text = (
        f"rank {rank} is the last to get its data in {count} of {len(recent)} steps, and costs the "
        f"others {lost:.0%} of the time; check the cores, the network and the disk of its machine"
    )
    return rank, text


def _probe(probes: Rows, drift: Rows) -> str | None:
    """Two probes in a row must be lower: the score of one has noise."""
    if len(probes) < 3:
        return None
    best = max(probes, key=lambda row: row["score"])
    last = max(row["score"] for row in probes[-2:])
    if best["score"] - last < max(PROBE_LOSS * best["score"], PROBE_NOISE):
        return None
    drifted = f" and the features have drifted (cosine {drift[-1]['cosine']:.2f})" if drift else ""
    return (
        f"the probe fell from {best['score']:.3f} at step {best['step']} to {last:.3f}{drifted}; "
        "use encoder_best.safetensors, and start again with a smaller --optimizer.lr.value, a "
        "higher momentum or fewer steps"
    )


def _drift(drift: Rows, probes: Rows) -> str | None:
    """Judge the drift from pretrained weights.

    A probe knows one task, and drifted features may be worse for others, so its score is told, too.
    """
    if not drift or not drift[-1]["pretrained"] or drift[-1]["cosine"] >= DRIFT_COSINE:
        return None
    last = drift[-1]
    finding = (
        f"the features have drifted from the initial weights (cosine {last['cosine']:.2f}, CKA "
        f"{last['cka']:.2f})"
    )

    # With scores of a probe, the sentence says whether the drift did harm.
    if not probes:
        return (
            f"{finding}, which the loss does not show; give a corpus with labels as probe.corpus, "
            "which tells whether they became worse, or start again with a smaller "
            "--optimizer.lr.value"
        )
    first, now = probes[0], probes[-1]
    if len(probes) == 1:
        return (
            f"{finding}, and a single probe, {now['score']:.3f} at step {now['step']}, does not "
            "tell whether they became worse; wait for the next probe"
        )
    return (
        f"{finding}, and the probe went from {first['score']:.3f} at step {first['step']} to "
        f"{now['score']:.3f} at step {now['step']}; if it rose, evaluate on a task that it does "
        "not have, too; if it did not, start again with a smaller --optimizer.lr.value"
    )


def _wait_share(rows: Rows, name: str) -> float | None:
    """Return the share of the time of the newest steps that a column of seconds takes."""
    recent = rows[-_RECENT:]
    total_s = sum(_values(recent, "step_s"))
    if len(recent) < _RECENT or total_s <= 0:
        return None
    return sum(_values(recent, name)) / total_s


def _values(rows: Rows, name: str) -> list[float]:
    """Return the finite values of a column."""
    values = (row.get(name) for row in rows)
    return [value for value in values if value is not None and math.isfinite(value)]
