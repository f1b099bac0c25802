import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

import pytest

from surgrec import __version__
from surgrec.cli import Command, parse, run, with_errors_as_one_line, write_yaml
from surgrec.config_values import as_plain
from surgrec.errors import ConfigError, StorageError
from surgrec.terminal import LOG_FILE, QUIET, print_result, say, warn


@dataclass(frozen=True, kw_only=True)
class Optics:
    """How the camera sees."""

    zoom: float = 1.0
    """Magnification."""
    light: Literal["white", "infrared"] = "white"
    """Kind of light."""
    field_range: tuple[float, float] = (0.3, 1.0)
    """Smallest and largest field of view."""

    def __post_init__(self) -> None:
        if self.zoom <= 0:
            raise ConfigError(f"zoom is {self.zoom}; it must be positive")


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A camera."""

    folder: Path
    """Where pictures go."""
    corpus: str | list[str] = "corpus"
    """One address or several."""
    optics: Optics = Optics()
    """The optics in front of it."""
    spares: list[Optics] = field(default_factory=lambda: [Optics(zoom=2.0)])
    """Further optics."""
    weights: dict[str, float] = field(default_factory=dict)
    """Factors by name."""
    backup: Optics | None = None
    """Optics for emergencies."""
    pictures: int = 3
    """How many."""
    shutter_s: float = 0.01
    """Exposure time."""
    flash: bool = False
    """Whether it flashes."""

    def __post_init__(self) -> None:
        if self.pictures < 1:
            raise ConfigError(f"pictures is {self.pictures}; at least one is taken")


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line that `parse` leaves behind when it refuses."""
    with pytest.raises(SystemExit) as stopped:
        parse(Camera, argv, prog="camera")
    assert stopped.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert output.err.startswith("camera: error: ")
    assert output.err.endswith("(see camera --help)\n")
    return output.err


def test_a_config_comes_from_yaml_and_flags_override_it(tmp_path: Path) -> None:
    path = tmp_path / "camera.yaml"
    path.write_text(
        "folder: pictures\ncorpus: [a, s3://b/c]\noptics: {zoom: 3, field_range: [0.5, 0.6]}\n"
        "spares: [{light: infrared}]\nweights: {alpha: 2, beta-2: 0.5}\nshutter_s: 1e-4\n"
    )
    config = parse(
        Camera,
        ["--config", str(path), "--optics.light", "infrared", "--pictures=7", "--flash", "true"],
    )
    assert config == Camera(
        folder=Path("pictures"),
        corpus=["a", "s3://b/c"],
        optics=Optics(zoom=3.0, light="infrared", field_range=(0.5, 0.6)),
        spares=[Optics(light="infrared")],
        weights={"alpha": 2.0, "beta-2": 0.5},
        pictures=7,
        shutter_s=1e-4,
        flash=True,
    )


def test_flags_alone_are_enough() -> None:
    config = parse(
        Camera, ["--folder", "no", "--corpus", "a", "--weights.alpha", "3", "--backup.zoom", "4"]
    )
    assert config == Camera(
        folder=Path("no"), corpus="a", weights={"alpha": 3.0}, backup=Optics(zoom=4.0)
    )


@pytest.mark.parametrize(
    "config",
    [
        Camera(folder=Path("a b/ü")),
        Camera(
            folder=Path("no"),
            corpus=["s3://a/b", "off", "12"],
            optics=Optics(zoom=1e-5, light="infrared", field_range=(0.25, 0.5)),
            spares=[Optics(zoom=0.1), Optics()],
            weights={"a-b": 2.0, "12": 0.0},
            backup=Optics(zoom=9.0),
            shutter_s=1e-9,
            flash=True,
        ),
        Camera(folder=Path("x"), spares=[], corpus=[]),
    ],
)
def test_a_written_config_reads_back_as_it_was(tmp_path: Path, config: Camera) -> None:
    write_yaml(config, tmp_path / "config.yaml")
    assert parse(Camera, ["--config", str(tmp_path / "config.yaml")]) == config


def test_a_config_as_plain_values_holds_no_objects() -> None:
    assert as_plain(Camera(folder=Path("x"), backup=Optics())) == {
        "folder": "x",
        "corpus": "corpus",
        "optics": {"zoom": 1.0, "light": "white", "field_range": [0.3, 1.0]},
        "spares": [{"zoom": 2.0, "light": "white", "field_range": [0.3, 1.0]}],
        "weights": {},
        "backup": {"zoom": 1.0, "light": "white", "field_range": [0.3, 1.0]},
        "pictures": 3,
        "shutter_s": 0.01,
        "flash": False,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pictuers: 3", "'pictuers' is not accepted; did you mean 'pictures'?"),
        ("optics: {zom: 3}", "'optics.zom' is not accepted; did you mean 'zoom'?"),
        ("spares: [{ligth: white}]", "'spares[0].ligth' is not accepted; did you mean 'light'?"),
        ("folder: x\nprecision: 3", "'precision' is not accepted"),
        ("folder: x\npictures: three", "pictures is 'three'; give a whole number"),
        ("folder: x\npictures: 2.5", "pictures is 2.5; give a whole number"),
        ("folder: x\nflash: maybe", "maybe"),
        (
            "folder: x\noptics: {light: green}",
            "optics.light is 'green'; give one of 'white', 'infrared'",
        ),
        (
            "folder: x\noptics: 3",
            "optics is 3; give a mapping with zoom, light, field_range",
        ),
        ("folder: x\noptics: [1]", "optics is [1]; give a mapping with zoom"),
        ("folder: x\nweights: {a: much}", "much"),
        ("folder: x\npictures: 0", "pictures is 0; at least one is taken"),
        ("folder: x\noptics: {zoom: -1}", "zoom is -1.0; it must be positive"),
        ("folder: x\nspares: [{zoom: -2}]", "zoom is -2.0; it must be positive"),
        ("pictures: 3", "folder"),
        ("- a", "is not a YAML mapping; write one option per line"),
        ("a: [", "is not YAML (line "),
        ("", "is empty; write one option per line"),
    ],
)
def test_a_wrong_yaml_is_one_line_that_names_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (tmp_path / "camera.yaml").write_text(text)
    assert message in refusal(capsys, "--config", str(tmp_path / "camera.yaml"))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--pictuers", "3"], "--pictuers is not an option; did you mean '--pictures'?"),
        (["--optics.zom=3"], "--optics.zom is not an option; did you mean '--optics.zoom'?"),
        (["--picture", "3"], "did you mean '--pictures'?"),  # an abbreviation is not a name
        (["--pictures", "three"], "three"),
        (["--pictures", "0"], "pictures is 0; at least one is taken"),
        (["--optics.zoom", "-1"], "zoom is -1.0"),
        (["--optics.light", "green"], "green"),
        (["extra"], "extra"),
        (["--config", "/none.yaml"], "/none.yaml"),
    ],
)
def test_a_wrong_flag_is_one_line_that_names_what_is_wrong(
    capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    assert message in refusal(capsys, "--folder", "x", *argv)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("[1].mp4", "[1].mp4"),
        ("[a] b", "[a] b"),
        ("['[1].mp4', b]", ["[1].mp4", "b"]),
        ("['[1]']", ["[1]"]),
        (" [a] ", ["a"]),
        ("{a: b}", "{a: b}"),
    ],
)
def test_text_that_begins_with_a_bracket_is_no_list(word: str, value: object) -> None:
    assert parse(Camera, ["--folder", "x", "--corpus", word], prog="camera").corpus == value


def test_a_list_that_is_not_yaml_names_the_way_to_give_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = refusal(capsys, "--folder", "x", "--corpus", "[1] to [2]")
    assert "--corpus is not YAML" in told
    assert "a word in brackets is a list, so give one text in brackets as \"['[...]']\"" in told


def test_a_list_that_is_given_twice_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--folder", "x", "--corpus", "a", "--pictures", "1", "--pictures", "2"]
    assert parse(Camera, [*words, "--corpus", "b"], prog="camera").corpus == "b"
    errors = capsys.readouterr().err
    assert errors.startswith("camera: warning: --corpus is given twice, and the last one counts")
    assert errors.count("\n") == 1


def test_help_shows_the_docstring_of_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse(Camera, ["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for text in ("Where pictures go.", "Magnification.", "Exposure time.", "Further optics."):
        assert text in shown


def develop(
    *,
    out: str,
    optics: Optics = Optics(),
    names: list[str] = [],  # noqa: B006
    dry: bool = False,
) -> int:
    """Print pictures.

    Exit status 0: all pictures are on paper.

    Args:
        out: Where prints go.
        optics: Through which they were taken.
        names: Whose they are.
        dry: Print nothing.

    Example:
        lab develop --out prints
    """
    if out == "full":
        raise StorageError("the disk full is full; free space")
    if out == "interrupted":
        raise KeyboardInterrupt
    sys.stdout.write(f"{out} {optics.zoom} {names} {dry}")
    return 3


def show(
    albums: list[str],
    pages: int = 1,
    size: Literal["a4", "a5"] | None = None,
    cover: Path | None = None,
    all: bool = False,
) -> None:
    """Show albums.

    Args:
        albums: Folders of pictures, in the order
            in which they are shown.
        pages: How many.
        size: Of a page.
        cover: Picture in front.
        all: Show hidden pictures too.
    """
    sys.stdout.write(f"{albums} {pages} {all}")


COMMANDS = {
    "develop": Command(function=develop),
    "show": Command(function=show, positional="albums", many=True),
}


def outcome(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[object, str, str]:
    """Exit status, output and errors of a run."""
    with pytest.raises(SystemExit) as stopped:
        run("lab", COMMANDS, argv)
    output = capsys.readouterr()
    return stopped.value.code, output.out, output.err


@pytest.mark.parametrize(
    "argv",
    [
        ["--albums", "a", "--few", "--albums=b"],
        ["a", "--few", "--albums", "b"],
        ["--albums", "a", "--few", "--", "b"],
    ],
)
def test_the_argument_without_a_flag_may_be_given_by_its_name(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def pick(albums: list[str], few: bool = False) -> None:
        """Pick pictures.

        Args:
            albums: Folders.
            few: Whether to take few.
        """
        sys.stdout.write(f"{albums} {few}")

    command = Command(function=pick, positional="albums", many=True)
    with pytest.raises(SystemExit):
        run("lab", {"pick": command}, ["pick", *argv])
    assert capsys.readouterr().out == "['a', 'b'] True"


def test_an_argument_by_its_name_needs_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["show", "--albums"], ["show", "--albums", "--all"]):
        status, _, errors = outcome(capsys, *argv)
        assert (status, errors) == (
            2,
            "lab show: error: --albums needs a value (see lab show --help)\n",
        )


def test_a_subcommand_gets_typed_arguments_and_gives_the_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "optics.yaml").write_text("zoom: 4\n")
    argv = [
        "develop",
        "--out",
        "prints",
        "--optics",
        str(tmp_path / "optics.yaml"),
        "--names",
        "[a,b]",
        "--dry",
        "true",
    ]
    assert outcome(capsys, *argv) == (3, "prints 4.0 ['a', 'b'] True", "")
    assert outcome(capsys, "show", "one", "two", "--pages", "5") == (
        0,
        "['one', 'two'] 5 False",
        "",
    )


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (("a", "--all"), "['a'] 1 True"),
        (("--all", "a"), "['a'] 1 True"),
        (("a", "--all", "--pages", "2"), "['a'] 2 True"),
        (("--all", "true", "a"), "['a'] 1 True"),
        (("a", "--all", "false"), "['a'] 1 False"),
        (("a", "--all=false"), "['a'] 1 False"),
    ],
)
def test_a_boolean_option_may_stand_alone(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], shown: str
) -> None:
    assert outcome(capsys, "show", *argv) == (0, shown, "")


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (("a", "--few", "[2, 25%]"), "['a'] [2, '25%']"),
        (("--few", "a"), "['a'] True"),
        (("--few", "[x].mp4"), "['[x].mp4'] True"),
        (("a", "--few", "false"), "['a'] False"),
    ],
)
def test_a_boolean_option_may_also_take_a_list(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], shown: str
) -> None:
    def pick(albums: list[str], few: bool | list[str | int] = False) -> None:
        """Pick pictures.

        Args:
            albums: Folders.
            few: Whether to take few; or how many.
        """
        sys.stdout.write(f"{albums} {few}")

    with pytest.raises(SystemExit) as stopped:
        run(
            "lab", {"pick": Command(function=pick, positional="albums", many=True)}, ["pick", *argv]
        )
    assert (stopped.value.code, capsys.readouterr().out) == (0, shown)


def test_a_config_takes_boolean_options_alone() -> None:
    assert parse(Camera, ["--flash", "--folder", "x"]).flash


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("--shutter-s", "2"), Camera(folder=Path("x"), shutter_s=2.0)),
        (
            ("--optics.field-range", "[0, 1]"),
            Camera(folder=Path("x"), optics=Optics(field_range=(0, 1))),
        ),
        (("--weights.a-b", "2"), Camera(folder=Path("x"), weights={"a-b": 2.0})),
    ],
)
def test_dashes_stand_for_underscores_except_in_keys_of_a_mapping(
    argv: tuple[str, ...], expected: Camera
) -> None:
    assert parse(Camera, ["--folder", "x", *argv]) == expected


def test_a_command_with_a_dash_may_be_given_with_an_underscore(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        run(
            "lab",
            {"show-all": Command(function=show, positional="albums", many=True)},
            ["show_all", "a"],
        )
    assert capsys.readouterr().out == "['a'] 1 False"


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(capsys, "--version") == (0, f"lab {__version__}\n", "")


def test_help_of_a_command_is_its_docstring_with_plain_types(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, shown, _ = outcome(capsys, "show", "--help")
    words = " ".join(shown.split())
    assert code == 0
    assert words.startswith("usage: lab show [-h] [--pages INT] [--size {a4,a5}] [--cover PATH]")
    for text in (
        "albums Folders of pictures, in the order in which they are shown. options:",
        "--pages INT How many. (default: 1)",
        "--size {a4,a5} Of a page. --cover",
        "--cover PATH Picture in front. --all",
        "--all [{true,false}] Show hidden pictures too.",
    ):
        assert text in words
    assert not any(strange in shown for strange in ("class", "Literal", "null", "type:"))

    shown = outcome(capsys, "develop", "--help")[1]
    assert "Print pictures.\n\nExit status 0: all pictures are on paper.\n\n" in shown
    assert shown.endswith("Example:\n\n    lab develop --out prints\n")
    assert "--out TEXT Where prints go. (required)" in " ".join(shown.split())


def test_a_surgrec_error_is_one_line_and_exit_status_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert outcome(capsys, "develop", "--out", "full") == (
        1,
        "",
        "lab: error: the disk full is full; free space\n",
    )
    with pytest.raises(SystemExit, match="1"):
        with_errors_as_one_line("recipe", lambda: develop(out="full"))
    assert capsys.readouterr().err == "recipe: error: the disk full is full; free space\n"


def test_an_interrupt_is_one_line_and_exit_status_130(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, errors = outcome(capsys, "develop", "--out", "interrupted")
    assert code == 130
    assert errors.startswith("lab: interrupted")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB.\nMore about it"),
    ],
)
def test_a_lack_of_memory_is_one_line_and_exit_status_1(
    capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(SystemExit, match="1"):
        with_errors_as_one_line("jepa", fail)
    errors = capsys.readouterr().err
    assert errors.startswith("jepa: error: memory ran out (")
    assert "); use a smaller model or batch" in errors
    assert errors.count("\n") == 1


def test_a_mistake_of_our_own_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        with_errors_as_one_line("lab", lambda: 1 // 0)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "lab: error: a command is needed: develop, show (see lab --help)"),
        (
            ["devlop"],
            "'devlop' is not a command; choose from 'develop', 'show'; did you mean 'develop'?",
        ),
        (["develop"], "lab develop: error: --out is required (see lab develop --help)"),
        (
            ["develop", "--otu", "x"],
            "lab develop: error: --otu is not an option; did you mean '--out'? (see lab develop",
        ),
        (["develop", "--out", "x", "--optics.zom", "3"], "did you mean '--optics.zoom'?"),
        (["develop", "--out", "x", "--optics.zoom", "-3"], "zoom is -3.0; it must be positive"),
        (["develop", "--out", "x", "--optics", "/none.yaml"], "/none.yaml"),
        (
            ["develop", "--out", "x", "--optics", "WRONG"],
            "lab develop: error: 'optics.zom' is not accepted; did you mean 'zoom'?",
        ),
        (["show"], "lab show: error: albums is required (see lab show --help)"),
        (
            ["--otu", "develop"],
            "--otu is not an option of the program; begin",
        ),  # not 'out' of develop
        (["develop", "--out"], "--out needs a value"),
        (["develop", "--out", "x", "--optics", "3"], "optics is 3.0; give a mapping with zoom"),
        (["develop", "--out", "x", "--dry", "maybe"], "maybe"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    wrong = tmp_path / "optics.yaml"
    wrong.write_text("zom: 4\n")
    code, output, errors = outcome(
        capsys, *(str(wrong) if word == "WRONG" else word for word in argv)
    )
    assert (code, output) == (2, "")
    assert message in errors
    assert errors.count("\n") == 1
    assert "[options]" not in errors


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_reader_that_has_seen_enough_is_no_failure(lines: int) -> None:
    """`surgrec order ... | head -1` ends quietly, also if the last flush fails."""
    program = (
        "from surgrec.cli import with_errors_as_one_line\n"
        "def main():\n"
        f"    for number in range({lines}): print(number)\n"
        "with_errors_as_one_line('lab', main)\n"
    )
    reader, writer = os.pipe()
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=environment,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def take_notes(word: str) -> None:
    """Print a note, a warning and a result.

    Args:
        word: In all of them.
    """
    say(f"a note of {word}")
    warn(f"of {word}")
    print_result(word)
    if word == "trouble":
        raise StorageError("the disk is full; free space")


NOTES = {"notes": Command(function=take_notes, positional="word")}


@pytest.fixture(autouse=True)
def output_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands set these variables for their child processes."""
    for name in (QUIET, LOG_FILE):
        monkeypatch.setenv(name, "")


def test_a_quiet_command_prints_results_warnings_and_errors_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("lab", NOTES, ["--quiet", "notes", "trouble"])
    printed = capsys.readouterr()
    assert (stopped.value.code, printed.out) == (1, "trouble\n")
    assert printed.err.splitlines() == [
        "warning of trouble",
        "lab: error: the disk is full; free space",
    ]


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["notes", "x", "--quiet"], "lab --quiet notes"),
        (["notes", "--log-file=x.txt", "x"], "lab --log-file PATH notes"),
        (["words", "--quiet"], "lab --quiet words"),
    ],
)
def test_an_option_of_the_program_behind_a_command_is_told_its_place(
    words: list[str], place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = NOTES | {"words": Command(function=print, summary="words", takes_words=True)}
    with pytest.raises(SystemExit) as stopped:
        run("lab", commands, words)
    assert stopped.value.code == 2
    assert f"belongs before the command: {place} (see lab --help)" in capsys.readouterr().err


def test_words_behind_two_dashes_are_no_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("lab", NOTES, ["notes", "--", "--quiet"])
    assert (stopped.value.code, capsys.readouterr().out) == (0, "--quiet\n")


@pytest.mark.parametrize("form", [["--log_file", "FILE"], ["--log-file=FILE"]])
def test_a_log_file_gets_the_command_notes_warnings_and_errors_with_their_times(
    form: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.txt"
    path.write_text("before\n")
    words = [word.replace("FILE", str(path)) for word in form]
    with pytest.raises(SystemExit):
        run("lab", NOTES, [*words, "--quiet", "notes", "trouble"])
    before, *lines = path.read_text().splitlines()
    times, texts = zip(*(line.split(" ", 1) for line in lines), strict=True)
    assert before == "before"
    assert all(datetime.fromisoformat(time).tzinfo for time in times)
    assert texts == (
        f"lab {' '.join(words)} --quiet notes trouble",
        "a note of trouble",
        "warning of trouble",
        "lab: error: the disk is full; free space",
    )


@pytest.mark.parametrize(("no_color", "colors"), [("", 1), ("1", 0)])
def test_no_color_removes_the_colors_of_a_terminal(
    no_color: str,
    colors: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "NO_COLOR": no_color}
    for name, value in terminal.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        run("lab", NOTES, ["notes", "x"])
    assert capsys.readouterr().err.count("\x1b[33m") == colors


def test_a_log_file_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("lab", NOTES, ["--log_file", str(tmp_path / "none" / "log"), "notes", "x"])
    assert stopped.value.code == 2
    assert "cannot be written (No such file or directory)" in capsys.readouterr().err


def test_a_log_file_on_a_full_disk_does_not_end_the_work(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("lab", NOTES, ["--log_file", "/dev/full", "notes", "x"])
    printed = capsys.readouterr()
    assert (stopped.value.code, printed.out) == (0, "x\n")
    assert printed.err.count("/dev/full cannot be written (No space left on device)") == 1
