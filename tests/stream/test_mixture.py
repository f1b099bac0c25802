import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float64, Int64

import surgrec.stream
from surgrec.cli import parse
from surgrec.errors import MixtureError
from surgrec.stream import Level, Mixture, Stage
from surgrec.stream._mixture import resolved_stages
from surgrec.stream._shares import Stratum, block_counts, shares


def stratum(source: str, domain: str, size: int) -> Stratum:
    return Stratum(
        source=source,
        domain=domain,
        source_digest=f"digest of {source}",
        source_rows_digest=f"rows of {source}",
        size=size,
    )


def shares_of(
    strata: list[Stratum], mixture: Mixture, stage: int = 0
) -> Float64[np.ndarray, " strata"]:
    return shares(strata, resolved_stages(mixture)[stage], mixture.splits)


def counts_of(
    strata: list[Stratum], mixture: Mixture, stage: int = 0
) -> Int64[np.ndarray, " strata"]:
    return block_counts(strata, mixture, resolved_stages(mixture)[stage])


STRATA = [
    stratum("big", "laparoscopy", 900),
    stratum("small", "laparoscopy", 100),
    stratum("eyes", "cataract", 1000),
]


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([Level(by="source", alpha=1.0)], [0.45, 0.05, 0.5]),
        ([Level(by="source", alpha=0.0)], [1 / 3, 1 / 3, 1 / 3]),
        (
            [Level(by="source", alpha=0.5)],
            np.sqrt([900, 100, 1000]) / np.sqrt([900, 100, 1000]).sum(),
        ),
        ([Level(by="domain", alpha=0.0), Level(by="source", alpha=0.5)], [0.375, 0.125, 0.5]),
        ([Level(by="domain", alpha=0.0)], [0.45, 0.05, 0.5]),
        ([Level(by="domain", alpha=0.0), Level(by="source", alpha=0.0)], [0.25, 0.25, 0.5]),
        ([], [0.45, 0.05, 0.5]),
    ],
)
def test_a_share_is_proportional_to_size_to_the_alpha_at_every_level(
    levels: list[Level], expected: list[float]
) -> None:
    assert shares_of(STRATA, Mixture(levels=levels)) == pytest.approx(expected)


def test_the_default_balances_domains_equally_and_sources_by_square_root() -> None:
    assert shares_of(STRATA, Mixture()) == pytest.approx([0.375, 0.125, 0.5])


def test_the_worked_example_of_the_docstring_holds() -> None:
    strata = [
        stratum("alpha", "laparoscopy", 10),
        stratum("beta", "laparoscopy", 7),
        stratum("gamma", "cataract", 5),
    ]
    mixture = Mixture(block=16)
    share = shares_of(strata, mixture)
    assert share.round(3).tolist() == [0.272, 0.228, 0.5]
    assert (share * 16).round(2).tolist() == [4.36, 3.64, 8.0]
    assert counts_of(strata, mixture).tolist() == [4, 4, 8]


def test_a_weight_multiplies_a_share_and_zero_leaves_a_source_out() -> None:
    natural = Mixture(levels=[], weights={"small": 2.0})
    assert shares_of(STRATA, natural) == pytest.approx(np.array([0.45, 0.1, 0.5]) / 1.05)
    without = Mixture(levels=[Level(by="source", alpha=0.0)], weights={"eyes": 0.0})
    assert shares_of(STRATA, without) == pytest.approx([0.5, 0.5, 0.0])
    assert counts_of(STRATA, without)[2] == 0


def test_a_source_left_out_gives_its_share_to_its_own_domain() -> None:
    assert shares_of(STRATA, Mixture(weights={"big": 0.0})) == pytest.approx([0.0, 0.5, 0.5])


def test_a_source_without_samples_has_no_share() -> None:
    strata = [*STRATA, stratum("none", "robotic", 0)]
    assert shares_of(strata, Mixture()) == pytest.approx([0.375, 0.125, 0.5, 0.0])
    assert counts_of(strata, Mixture())[3] == 0


def test_counts_are_rounded_by_largest_remainder() -> None:
    strata = [stratum("a", "x", 50), stratum("b", "x", 30), stratum("c", "x", 20)]
    mixture = Mixture(levels=[], block=7)  # quotas 3.5, 2.1, 1.4
    assert counts_of(strata, mixture).tolist() == [4, 2, 1]


def test_a_source_with_a_tiny_share_has_one_position_of_every_block() -> None:
    strata = [stratum("huge", "x", 10**9), stratum("b", "x", 1), stratum("c", "x", 1)]
    assert counts_of(strata, Mixture(levels=[], block=16)).tolist() == [14, 1, 1]
    assert counts_of(strata, Mixture(levels=[], block=3)).tolist() == [1, 1, 1]


@given(
    sizes=st.lists(st.integers(0, 10**7), min_size=1, max_size=12),
    alphas=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    weights=st.lists(st.one_of(st.just(0.0), st.floats(0.01, 100.0)), min_size=12, max_size=12),
    block=st.integers(12, 3000),
)
def test_counts_fill_the_block_and_are_within_one_of_the_quota(
    sizes: list[int], alphas: tuple[float, float], weights: list[float], block: int
) -> None:
    strata = [stratum(f"s{index}", f"d{index % 3}", size) for index, size in enumerate(sizes)]
    factors = {
        stratum.source: weight
        for stratum, weight in zip(strata, weights, strict=False)
        if stratum.size
    }
    levels = [Level(by="domain", alpha=alphas[0]), Level(by="source", alpha=alphas[1])]
    mixture = Mixture(levels=levels, weights=factors, block=block)
    served = np.array([stratum.size > 0 and factors[stratum.source] > 0 for stratum in strata])
    if not served.any():
        with pytest.raises(MixtureError, match="no sample can be drawn"):
            counts_of(strata, mixture)
        return
    share = shares_of(strata, mixture)
    counts = counts_of(strata, mixture)
    assert share.sum() == pytest.approx(1)
    assert counts.sum() == block
    assert np.array_equal(counts > 0, served)
    quota = share * block
    assert (counts < quota + 1 + 1e-6).all() or (counts[counts >= quota + 1] == 1).all()
    # Without a stratum that is lifted to 1, largest remainders change each count by less than 1.
    if (quota[served] >= 1).all():
        assert (np.abs(counts - quota) < 1 + 1e-6).all()


def test_counts_do_not_depend_on_the_order_of_sources() -> None:
    strata = [
        stratum(name, domain, size)
        for name, domain, size in [("a", "x", 7), ("b", "y", 7), ("c", "y", 11)]
    ]
    forwards = dict(zip("abc", counts_of(strata, Mixture(block=10)), strict=True))
    backwards = dict(zip("cba", counts_of(strata[::-1], Mixture(block=10)), strict=True))
    assert {name: forwards[name] for name in "c"} == {name: backwards[name] for name in "c"}


def test_a_block_smaller_than_its_sources_is_refused() -> None:
    with pytest.raises(
        MixtureError, match="block is 2, but domain and source divide the samples into 3 strata"
    ):
        counts_of(STRATA, Mixture(block=2))
    assert counts_of(STRATA, Mixture(block=2, weights={"eyes": 0.0})).tolist() == [1, 1, 0]


def test_a_weight_for_an_unknown_source_is_refused_with_the_names() -> None:
    with pytest.raises(MixtureError, match=r"'eye'.*big, eyes, small"):
        shares_of(STRATA, Mixture(weights={"eye": 1.0}))


def test_a_weight_for_a_source_without_samples_is_refused() -> None:
    strata = [*STRATA, stratum("none", "robotic", 0)]
    with pytest.raises(
        MixtureError, match=r"none has weight 2, but no sample .* in the stored split val"
    ):
        shares_of(strata, Mixture(weights={"none": 2.0}, splits=["val"]))
    assert shares_of(strata, Mixture(weights={"none": 0.0})) == pytest.approx(
        [0.375, 0.125, 0.5, 0.0]
    )


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(MixtureError, match=r"no sample can be drawn from the stored split val"):
        shares_of([stratum("a", "x", 0)], Mixture(splits=["val"]))


@pytest.mark.parametrize("field", ["block", "shuffle_block", "shuffle_window"])
def test_a_size_below_one_is_refused(field: str) -> None:
    with pytest.raises(MixtureError, match=f"{field} is 0"):
        Mixture(**{field: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_no_finite_factor_is_refused(weight: float) -> None:
    with pytest.raises(MixtureError, match=rf"weights\.big is {weight}; give 0 to"):
        Mixture(weights={"big": weight})


@pytest.mark.parametrize("alpha", [-0.5, 1.5, float("nan"), float("inf")])
def test_a_temperature_outside_its_range_is_refused(alpha: float) -> None:
    with pytest.raises(MixtureError, match=f"level domain: alpha is {alpha}; give 0 to 1"):
        Level(by="domain", alpha=alpha)


@pytest.mark.parametrize("splits", [[], ["trian"], ["train", "vall"]])
def test_a_split_that_does_not_exist_is_refused(splits: list[str]) -> None:
    with pytest.raises(
        MixtureError, match=r"splits contains .*; give one or several of train, val, test"
    ):
        Mixture(splits=splits)


def test_a_column_with_two_levels_is_refused() -> None:
    with pytest.raises(MixtureError, match=r"name a column twice \(source, source\)"):
        Mixture(levels=[Level(by="source", alpha=0.0), Level(by="source", alpha=1.0)])


def test_the_example_of_the_readme_is_a_mixture_with_the_defaults(tmp_path: Path) -> None:
    readme = Path(surgrec.stream.__file__).with_name("README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", readme, flags=re.DOTALL)
    (tmp_path / "mixture.yaml").write_text(example, encoding="utf-8")
    assert parse(Mixture, ["--config", str(tmp_path / "mixture.yaml")]) == Mixture(
        weights={"cholec80": 2.0, "old": 0.0},
        stages=[Stage(start=2_000_000, weights={"cholec80": 4.0, "old": 0.0})],
        max_repeats=20.0,
    )


def test_a_level_may_divide_by_any_column_inside_a_source_too() -> None:
    strata = [
        replace(stratum("a", "x", size), values={"procedure": procedure})
        for size, procedure in ((80, "bypass"), (20, "sleeve"))
    ] + [replace(stratum("b", "x", 100), values={"procedure": "sleeve"})]
    equal = Mixture(levels=[Level(by="procedure", alpha=0.0)])
    assert shares_of(strata, equal) == pytest.approx([0.5, 0.5 * 20 / 120, 0.5 * 100 / 120])
    nested = Mixture(levels=[Level(by="source", alpha=0.0), Level(by="procedure", alpha=0.0)])
    assert shares_of(strata, nested) == pytest.approx([0.25, 0.25, 0.5])
    assert shares_of(strata, Mixture(levels=[])) == pytest.approx([0.4, 0.1, 0.5]), (
        "a finer stratum changes no share"
    )
    assert shares_of(strata, Mixture(levels=[], weights={"a": 0.0})) == pytest.approx([0, 0, 1])


def test_a_stage_changes_what_it_names_and_keeps_the_rest() -> None:
    mixture = Mixture(
        levels=[],
        weights={"small": 2.0},
        block=10,
        stages=[
            Stage(start=11, levels=[Level(by="source", alpha=0.0)]),
            Stage(start=30, weights={}),
        ],
    )
    assert [stage.start_block for stage in resolved_stages(mixture)] == [0, 2, 3], (
        "rounded up to a block"
    )
    assert shares_of(STRATA, mixture, 1) == pytest.approx([0.25, 0.5, 0.25])
    assert shares_of(STRATA, mixture, 2) == pytest.approx([1 / 3, 1 / 3, 1 / 3])


@pytest.mark.parametrize("starts", [(30, 20), (20, 20), (21, 29)])
def test_stages_out_of_order_or_within_one_block_are_refused(starts: tuple[int, int]) -> None:
    with pytest.raises(
        MixtureError, match="list them in order, at least one mixing block of 10 samples apart"
    ):
        Mixture(block=10, stages=[Stage(start=start, weights={}) for start in starts])


def test_a_stage_that_starts_at_zero_or_changes_nothing_is_refused() -> None:
    with pytest.raises(MixtureError, match="stage at sample 0: start is 0; give 1 to"):
        Stage(start=0, weights={})
    with pytest.raises(MixtureError, match="stage at sample 7 has neither"):
        Stage(start=7)


def test_a_stage_weight_for_an_unknown_source_is_refused_at_the_start() -> None:
    mixture = Mixture(stages=[Stage(start=5000, weights={"smal": 1.0})])
    with pytest.raises(MixtureError, match=r"'smal'.*big, eyes, small"):
        shares_of(STRATA, mixture, 1)
