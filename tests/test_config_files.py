"""Config files are found by name, follow their base, and merge."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from surgrec.cli import parse
from surgrec.config_files import find_config, merge_configs, read_config
from surgrec.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Net:
    """A network."""

    width: int
    """Channels."""
    depth: int
    """Layers."""
    dropout: float = 0.0
    """Share of channels."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training job."""

    net: Net
    """The network."""
    steps: int = 10
    """Steps."""
    lr: float = 0.1
    """Learning rate."""
    tags: list[str] = field(default_factory=list)
    """Labels."""


SIZES = {"net.size": {"small": {"width": 4, "depth": 2}, "large": {"width": 8, "depth": 6}}}


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    folder = tmp_path / "configs"
    (folder / "published").mkdir(parents=True)
    (folder / "start.yaml").write_text(
        "net: {size: small, dropout: 0.5}\nsteps: 7\nlr: 1e-4\ntags: [a, b]\n"
    )
    (folder / "published/long.yaml").write_text("base: start\nnet: {size: large}\nsteps: 900\n")
    (folder / "published/longer.yaml").write_text("base: long\nsteps: 1000\ntags: [c]\n")
    return folder


def job(configs: Path, *words: str) -> Job:
    return parse(Job, words, configs=configs, presets=SIZES)


def test_a_config_has_a_name_or_a_path(configs: Path) -> None:
    by_name = job(configs, "--config", "start")
    assert by_name == job(configs, "--config", str(configs / "start.yaml"))
    assert by_name.net == Net(width=4, depth=2, dropout=0.5)
    assert by_name.lr == 1e-4


def test_a_base_gives_all_values_that_a_file_does_not_state(configs: Path) -> None:
    longer = job(configs, "--config", "longer")
    assert longer.net == Net(width=8, depth=6, dropout=0.5), "mappings merge key by key"
    assert (longer.steps, longer.lr) == (1000, 1e-4)
    assert longer.tags == ["c"], "lists are replaced"


def test_flags_win_over_files_wherever_they_stand(configs: Path) -> None:
    before = job(configs, "--steps", "3", "--config", "start")
    after = job(configs, "--config=start", "--steps", "3")
    assert before == after
    assert before.steps == 3


def test_a_later_file_wins_over_an_earlier_one(configs: Path) -> None:
    assert job(configs, "--config", "long", "--config", "start").steps == 7


def test_a_size_flag_sets_its_fields_and_later_flags_win(configs: Path) -> None:
    assert job(configs, "--config", "start", "--net.size", "large").net.width == 8
    chosen = job(configs, "--config", "start", "--net.size=large", "--net.depth", "3")
    assert (chosen.net.width, chosen.net.depth) == (8, 3)


def test_an_explicit_field_of_a_file_wins_over_its_size(configs: Path) -> None:
    (configs / "mixed.yaml").write_text("net: {size: large, depth: 5}\n")
    assert job(configs, "--config", "mixed").net == Net(width=8, depth=5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--config", "strat"),
            "config strat is neither a file nor a named config; did you mean start?",
        ),
        (("--config", "none.yaml"), "config none.yaml does not exist; check the path"),
        (("--config",), "--config needs a value"),
        (("--config", ""), "--config needs the name or the path of a file"),
        (
            ("--config", "start", "--net.size", "huge"),
            "net.size is 'huge'; give one of small, large",
        ),
        (("--config", "start", "--net.size"), "--net.size needs a value"),
    ],
)
def test_a_wrong_name_is_one_line(
    configs: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        job(configs, *words)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_config_that_is_its_own_base_is_refused(configs: Path) -> None:
    (configs / "one.yaml").write_text("base: two\n")
    (configs / "two.yaml").write_text("base: one\n")
    with pytest.raises(ConfigError, match="is its own base; remove one of the `base` keys"):
        read_config("one", configs)


def test_a_base_that_is_no_name_is_refused(configs: Path) -> None:
    (configs / "odd.yaml").write_text("base: [start]\n")
    with pytest.raises(ConfigError, match=r"base is \['start'\]; give one name or one path"):
        read_config("odd", configs)


def test_without_a_folder_only_paths_are_accepted(configs: Path) -> None:
    with pytest.raises(ConfigError, match="config start does not exist"):
        find_config("start")


def test_merging_leaves_its_inputs_alone() -> None:
    first = {"a": {"b": 1}}
    merged = merge_configs([first, {"a": {"c": 2}}])
    assert merged == {"a": {"b": 1, "c": 2}}
    assert first == {"a": {"b": 1}}
