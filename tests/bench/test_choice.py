"""The words of `surgrec bench` that name tasks, copies and encoders."""

import os
from pathlib import Path

import pytest
from surgrec_shard.presets import FOLDER

from surgrec.bench import Settings, choose_models, choose_tasks, named_values, plan_steps
from surgrec.bench._choice import copy_digest
from surgrec.commands.bench import bench
from surgrec.errors import ConfigError, MissingError
from surgrec.tasks import find_cards
from surgrec.tasks._read import FOLDER as CARDS


def write_encoder(folder: Path, content: bytes) -> Path:
    folder.mkdir()
    (folder / "encoder.safetensors").write_bytes(content)
    return folder


def test_a_word_that_names_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--encoders has 'runs/a'; give NAME=RUN_OR_PRESET"):
        named_values(["runs/a"], "--encoders", "RUN_OR_PRESET")
    with pytest.raises(ConfigError, match=r"the name '\.\./a'"):
        named_values(["../a=b"], "--encoders", "RUN_OR_PRESET")


def test_encoders_of_one_name_are_seeds_with_folders_of_their_own(tmp_path: Path) -> None:
    runs = [write_encoder(tmp_path / name, name.encode()) for name in ("a", "b")]
    first, second = choose_models([f"jepa={run}" for run in runs])
    assert (first.method, second.method) == ("jepa", "jepa")
    assert (first.name, second.name) == ("jepa", "jepa.2")
    assert first.digest != second.digest


def test_an_encoder_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    runs = [write_encoder(tmp_path / name, b"same") for name in ("a", "b")]
    with pytest.raises(ConfigError, match="mae and jepa are the same encoder"):
        choose_models([f"jepa={runs[0]}", f"mae={runs[1]}"])


def test_an_encoder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        MissingError, match=r"the encoder jepa is .*absent, which is not an encoder"
    ):
        choose_models([f"jepa={tmp_path / 'absent'}"])


def test_a_preset_needs_its_weights(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"give --weights dino=FILE"):
        choose_models(["dino=dinov2_vitb14"])
    with pytest.raises(ConfigError, match="--weights names 'mae', which is not in --encoders"):
        choose_models(["dino=dinov2_vitb14"], [f"mae={tmp_path}"])
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"first")
    first = choose_models(["dino=dinov2_vitb14"], [f"dino={weights}"])[0].digest
    weights.write_bytes(b"second")
    assert choose_models(["dino=dinov2_vitb14"], [f"dino={weights}"])[0].digest != first


def test_the_preset_of_pixels_needs_no_weights() -> None:
    (pixels,) = choose_models(["pixels=pixels"])
    assert len(pixels.digest) == 64


def test_a_legacy_task_without_its_lists_is_refused(tmp_path: Path) -> None:
    cards = find_cards(["surgrec-legacy-cholec80"])
    with pytest.raises(ConfigError, match=r"surgrec-legacy-cholec80 needs .* --legacy_splits DIR"):
        choose_tasks(cards, root=tmp_path)
    with pytest.raises(ConfigError, match=r"cholec80 is not a folder; give --legacy_splits DIR"):
        choose_tasks(cards, root=tmp_path, legacy_splits=tmp_path)
    (tmp_path / "cholec80").mkdir()
    (task,) = choose_tasks(cards, root=None, legacy_splits=tmp_path)
    assert (task.split, task.folder) == ("", tmp_path / "cholec80")


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_root_that_does_not_exist_is_refused_in_one_sentence(
    tmp_path: Path, dry_run: bool
) -> None:
    root, out = tmp_path / "absent", tmp_path / "out"
    with pytest.raises(ConfigError, match=r"--root .*absent is not a folder"):
        bench(tasks="cholec80-*", encoders="pixels=pixels", root=root, out=out, dry_run=dry_run)
    assert not out.exists()


def test_a_preset_of_the_user_has_an_absolute_path_and_folders_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    published = (FOLDER / "cholec80.yaml").read_text()
    Path("ours.yaml").write_text(published.replace("name: cholec80\n", "name: ours\n"))
    card = (CARDS / "cholec80-phase.yaml").read_text()
    Path("mine.yaml").write_text(card.replace("preset: cholec80\n", "preset: ours.yaml\n"))
    (task,) = choose_tasks(find_cards(["mine.yaml"]), root=tmp_path / "data")
    assert task.folder == tmp_path / "data/ours"
    plan = plan_steps([task], [], {task.folder: "1"}, Settings())
    words = {step.name: step.words for step in plan.steps}
    assert words["build/ours"][2] == str(tmp_path / "ours.yaml")
    assert words["check/ours/tecno"][1] == str(tmp_path / "ours.yaml")

    # The split lists the names of cases, so the corpus must have them.
    private = Path("ours.yaml").read_text().replace("public: true", "public: false")
    Path("ours.yaml").write_text(private)
    with pytest.raises(ConfigError, match=r"mine: the preset ours\.yaml has `public: false`"):
        choose_tasks(find_cards(["mine.yaml"]), root=tmp_path / "data")


def test_a_copy_is_below_the_root_or_where_sources_say(tmp_path: Path) -> None:
    cards = find_cards(["autolaparo-phase", "cholec80-phase"])
    tasks = choose_tasks(cards, root=tmp_path, sources=[f"cholec80={tmp_path / 'other'}"])
    assert [task.folder for task in tasks] == [tmp_path / "autolaparo", tmp_path / "other"]
    with pytest.raises(ConfigError, match=r"autolaparo-phase needs a copy of autolaparo"):
        choose_tasks(cards, root=None)
    with pytest.raises(ConfigError, match="--sources names 'pitvis', which no task uses"):
        choose_tasks(cards, root=tmp_path, sources=[f"pitvis={tmp_path}"])


def test_the_digest_of_a_copy_tells_every_changed_file(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    assert copy_digest(copy) == ""
    (copy / "videos").mkdir(parents=True)
    file = copy / "videos" / "01.mp4"
    file.write_bytes(b"1")
    first = copy_digest(copy)
    assert copy_digest(copy) == first
    os.utime(file, ns=(1, 1))
    second = copy_digest(copy)
    (copy / "videos" / "02.mp4").write_bytes(b"2")
    assert len({first, second, copy_digest(copy)}) == 3
