"""A checkpoint restores the exact state that was saved, or is refused with a reason."""

import contextlib
import errno
import itertools
import json
import os
import resource
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from surgrec.errors import CheckpointError, StorageError, TrainingError
from surgrec.storage import file_sha256
from surgrec.training import _checkpoint
from surgrec.training._checkpoint import Checkpoints, TrainingState, _optimizer_tensors

IDENTITY = {"order": {"seed": 1, "mixture": {"block": 64}}, "config": {"betas": (0.9, 0.999)}}


def a_run(seed: int, steps: int) -> tuple[nn.Module, torch.optim.AdamW]:
    """A small network after some AdamW steps on fixed data."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    train(model, optimizer, steps)
    return model, optimizer


def a_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, identity: dict[str, Any] = IDENTITY
) -> TrainingState:
    return TrainingState(
        modules={"model": model}, optimizer=optimizer, trained=model, identity=lambda step: identity
    )


def train(model: nn.Module, optimizer: torch.optim.AdamW, steps: int) -> list[float]:
    inputs = torch.linspace(-1, 1, 32).reshape(8, 4)
    losses = []
    for _ in range(steps):
        loss = (model(inputs) - 1).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def test_training_continues_bit_for_bit_after_a_checkpoint(tmp_path: Path) -> None:
    model, optimizer = a_run(seed=0, steps=5)
    Checkpoints(tmp_path, keep=3).save(5, a_state(model, optimizer))
    expected = train(model, optimizer, 5)
    other, other_optimizer = a_run(seed=9, steps=2)
    Checkpoints(tmp_path, keep=3).load(5, a_state(other, other_optimizer))
    assert train(other, other_optimizer, 5) == expected


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (10, 20, 30):
        checkpoints.save(step, a_state(model, optimizer))
    assert checkpoints.steps() == [20, 30]


def test_milestones_are_kept_besides_the_newest_checkpoints(tmp_path: Path) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    checkpoints = Checkpoints(tmp_path, keep=1, milestone_every=20)
    for step in (10, 20, 30, 40, 50):
        checkpoints.save(step, a_state(model, optimizer))
    assert checkpoints.steps() == [20, 40, 50]


def test_the_training_goes_on_while_a_thread_writes_the_state_of_before(tmp_path: Path) -> None:
    model, optimizer = a_run(seed=0, steps=5)
    checkpoints = Checkpoints(tmp_path, keep=3)
    goes_on = threading.Event()
    snapshot = checkpoints.snapshot(5, a_state(model, optimizer))
    checkpoints.begin_save(snapshot, lambda path: path.touch() if goes_on.wait(60) else None)
    expected = train(model, optimizer, 5)
    checkpoints.require_saved()
    assert checkpoints.steps() == [], "a save counts when it is complete"
    goes_on.set()
    checkpoints.finish_save()
    assert checkpoints.steps() == [5]
    other, other_optimizer = a_run(seed=9, steps=2)
    checkpoints.load(5, a_state(other, other_optimizer))
    assert train(other, other_optimizer, 5) == expected


def test_a_second_save_waits_for_the_first(tmp_path: Path) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    checkpoints = Checkpoints(tmp_path, keep=3)
    goes_on = threading.Event()
    snapshot = checkpoints.snapshot(10, a_state(model, optimizer))
    checkpoints.begin_save(snapshot, lambda path: path.touch() if goes_on.wait(60) else None)
    threading.Timer(0.2, goes_on.set).start()
    checkpoints.snapshot(20, a_state(model, optimizer))
    assert goes_on.is_set(), "its memory is still being written"
    assert checkpoints.steps() == [10]


def test_the_error_of_the_thread_is_raised_once_by_the_next_look(tmp_path: Path) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    checkpoints = Checkpoints(tmp_path, keep=3)
    ended = threading.Event()

    def fail(path: Path) -> None:
        ended.set()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    checkpoints.begin_save(checkpoints.snapshot(10, a_state(model, optimizer)), fail)
    assert ended.wait(60)
    with pytest.raises(StorageError, match=r"\(Input/output error\); .* resume from step 0"):
        until(checkpoints.require_saved)
    checkpoints.require_saved()
    checkpoints.save(20, a_state(model, optimizer))
    assert checkpoints.steps() == [20]


def until(look: Callable[[], None]) -> None:
    """Look until it raises an error, for a minute."""
    for _ in range(6000):
        look()
        time.sleep(0.01)


@pytest.mark.parametrize("name", ["model", "optimizer"])
def test_a_disk_that_returns_other_bytes_than_were_written_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    checkpoints = Checkpoints(tmp_path, keep=3)
    checkpoints.save(10, a_state(model, optimizer))

    def save_with_a_flipped_bit(tensors: dict[str, torch.Tensor], path: Path) -> None:
        save_file(tensors, path)
        if path.stem == name:
            content = bytearray(path.read_bytes())
            content[-1] ^= 1
            path.write_bytes(content)

    monkeypatch.setattr("surgrec.training._checkpoint.save_file", save_with_a_flipped_bit)
    with pytest.raises(StorageError, match=f"{name}.safetensors: the disk returns other values of"):
        checkpoints.save(20, a_state(model, optimizer), write_text)
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000010"]
    assert not (tmp_path / "encoder.safetensors").exists()


def test_an_unfinished_checkpoint_is_not_listed(tmp_path: Path) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    checkpoints = Checkpoints(tmp_path, keep=2)
    path = checkpoints.save(10, a_state(model, optimizer))
    path.rename(path.with_name(".step-00000020.partial"))
    assert checkpoints.steps() == []


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
def test_a_flipped_byte_is_refused_by_name(tmp_path: Path, name: str) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    path = Checkpoints(tmp_path, keep=2).save(10, a_state(model, optimizer)) / name
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match=f"{name} is missing or damaged"):
        Checkpoints(tmp_path, keep=2).load(10, a_state(model, optimizer))


def test_a_different_run_is_refused_with_every_difference(tmp_path: Path) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    Checkpoints(tmp_path, keep=2).save(10, a_state(model, optimizer))
    other = {"order": {"seed": 2, "mixture": {"block": 128}}, "config": {"betas": (0.9, 0.999)}}
    with pytest.raises(
        CheckpointError,
        match=r"order\.mixture\.block: saved 64, now 128; order\.seed: saved 1, now 2",
    ):
        Checkpoints(tmp_path, keep=2).load(10, a_state(model, optimizer, other))


def test_another_architecture_is_refused_by_tensor(tmp_path: Path) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    Checkpoints(tmp_path, keep=2).save(10, a_state(model, optimizer))
    wider = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 2))
    with pytest.raises(CheckpointError, match=r"0\.bias' has shape \(8,\), expected \(16,\)"):
        Checkpoints(tmp_path, keep=2).load(10, a_state(wider, optimizer))


def test_a_damaged_state_file_is_refused(tmp_path: Path) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    path = Checkpoints(tmp_path, keep=2).save(10, a_state(model, optimizer))
    (path / "state.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"state\.json is not valid JSON"):
        Checkpoints(tmp_path, keep=2).load(10, a_state(model, optimizer))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested more than 64 levels deep"),
        ("[]", "is a list, not an object"),
        ('{"format": 1, "step": 10, "files": {}}', "lacks the field identity"),
        ('{"format": 1, "step": 10, "files": {"a": 1}, "identity": {}}', "files.a is a whole"),
        ('{"format": 2, "step": 10, "files": {}, "identity": {}}', "has checkpoint format 2"),
        ('{"format": 1, "step": 20, "files": {}, "identity": {}}', "rename the folder to step-000"),
        ('{"format": 1, "step": NaN, "files": {}, "identity": {}}', "has NaN in place of a number"),
        ("\0" * 400, "NUL bytes, as after a power failure"),
        ('{"format": 1, "step": 10, "files": {"../a": ""}, "identity": {}}', "missing or damaged"),
    ],
)
def test_a_forged_state_file_is_refused_in_one_sentence(
    tmp_path: Path, text: str, words: str
) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    state = a_state(model, optimizer, {})
    path = Checkpoints(tmp_path, keep=2).save(10, state)
    (path / "state.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError) as caught:
        Checkpoints(tmp_path, keep=2).load(10, state)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
@pytest.mark.parametrize("digest", [None, ""])
def test_a_file_without_its_digest_is_not_loaded(
    tmp_path: Path, name: str, digest: str | None
) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    path = Checkpoints(tmp_path, keep=2).save(10, a_state(model, optimizer)) / "state.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    state["files"].pop(name)
    if digest is not None:
        state["files"][name] = digest
    path.write_text(json.dumps(state), encoding="utf-8")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    train(model, optimizer, 1)
    after = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=f"{name} is missing or damaged"):
        Checkpoints(tmp_path, keep=2).load(10, a_state(model, optimizer))
    assert not torch.equal(before["0.weight"], after["0.weight"])
    assert torch.equal(model.state_dict()["0.weight"], after["0.weight"]), "nothing was loaded"


def test_folders_with_absurd_names_are_no_checkpoints(tmp_path: Path) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(10, a_state(model, optimizer))
    for name in ("step-99999999999999999999", "step-000000011", "step-0000001\u0661", "step-1"):
        (checkpoints.folder / name).mkdir()
    (checkpoints.folder / "step-00000020").write_text("a file")
    assert checkpoints.steps() == [10]


def replace_file(path: Path, name: str, tensors: dict[str, torch.Tensor]) -> None:
    """Replace a file of a checkpoint, and record its digest."""
    save_file(tensors, path / name)
    state = json.loads((path / "state.json").read_text())
    state["files"][name] = file_sha256(path / name)
    (path / "state.json").write_text(json.dumps(state))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
def test_a_checkpoint_that_is_not_finite_is_refused(
    tmp_path: Path, name: str, value: float
) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    path = Checkpoints(tmp_path, keep=2).save(10, a_state(model, optimizer))
    tensors = load_file(path / name)
    key = next(key for key in tensors if key.endswith("2.bias"))
    tensors[key][0] = value
    replace_file(path, name, tensors)
    with pytest.raises(
        CheckpointError, match=f"{name}: the tensor '{key}' has values that are NaN"
    ):
        Checkpoints(tmp_path, keep=2).load(10, a_state(model, optimizer))


def test_moments_of_another_shape_are_refused_by_name(tmp_path: Path) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    path = Checkpoints(tmp_path, keep=2).save(10, a_state(model, optimizer))
    tensors = load_file(path / "optimizer.safetensors")
    replace_file(path, "optimizer.safetensors", tensors | {"exp_avg.0.bias": torch.zeros(1 << 20)})
    with pytest.raises(CheckpointError, match=r"exp_avg\.0\.bias has shape \(1048576,\)"):
        Checkpoints(tmp_path, keep=2).load(10, a_state(model, optimizer))


def test_a_pickle_under_the_name_of_a_module_is_refused(tmp_path: Path) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    path = Checkpoints(tmp_path, keep=2).save(10, a_state(model, optimizer))
    replace_file(path, "model.safetensors", {})
    torch.save(model.state_dict(), path / "model.safetensors")
    state = json.loads((path / "state.json").read_text())
    state["files"]["model.safetensors"] = file_sha256(path / "model.safetensors")
    (path / "state.json").write_text(json.dumps(state))
    with pytest.raises(CheckpointError, match="PyTorch pickle under the name of a safetensors"):
        Checkpoints(tmp_path, keep=2).load(10, a_state(model, optimizer))


def test_a_full_disk_leaves_the_earlier_checkpoint_whole(tmp_path: Path) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(10, a_state(model, optimizer))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Writing a file of more than 512 bytes fails.
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
    try:
        with pytest.raises(StorageError, match=r"cannot be written .* resume from step 10"):
            checkpoints.save(20, a_state(model, optimizer))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoints.steps() == [10]
    assert list(checkpoints.folder.iterdir()) == [checkpoints.folder / "step-00000010"]
    checkpoints.load(10, a_state(model, optimizer))


def write_text(path: Path) -> None:
    path.write_text("encoder of now", encoding="utf-8")


def test_the_encoder_file_appears_with_the_checkpoint(tmp_path: Path) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    checkpoints = Checkpoints(tmp_path, keep=2)
    path = checkpoints.save(10, a_state(model, optimizer), write_text)
    assert (tmp_path / "encoder.safetensors").read_text(encoding="utf-8") == "encoder of now"
    assert not (path / "encoder.safetensors").exists()


def test_a_failed_save_keeps_the_encoder_file_and_the_checkpoint_before(tmp_path: Path) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(10, a_state(model, optimizer), write_text)

    def full_disk(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageError, match=r"No space left on device\); .* resume from step 10"):
        checkpoints.save(20, a_state(model, optimizer), full_disk)
    assert (tmp_path / "encoder.safetensors").read_text(encoding="utf-8") == "encoder of now"
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000010"]


def test_weights_or_moments_that_are_not_finite_reach_no_checkpoint(tmp_path: Path) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(10, a_state(model, optimizer), write_text)
    optimizer.state[model[0].weight]["exp_avg_sq"][0, 0] = float("inf")
    with pytest.raises(TrainingError, match=r"'exp_avg_sq\.0\.weight' in optimizer is not finite"):
        checkpoints.save(20, a_state(model, optimizer), write_text)
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000010"]


def test_what_a_killed_save_left_behind_is_removed_by_the_next(tmp_path: Path) -> None:
    model, optimizer = a_run(seed=0, steps=1)
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(10, a_state(model, optimizer))
    for name in (".step-00000015.partial", ".step-00000005.removed"):
        (checkpoints.folder / name).mkdir()
    checkpoints.save(20, a_state(model, optimizer))
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000020"]


class Killed(BaseException):
    """The end of a process, which no cleanup follows."""


def killed_at(patched: pytest.MonkeyPatch, moment: int) -> list[str]:
    """End the process at one of the moments of a save at which the disk changes; return all."""
    moments: list[str] = []

    def counted(name: str, change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*arguments: Any, **options: Any) -> Any:
            moments.append(name)
            if len(moments) == moment + 1:
                raise Killed
            return change(*arguments, **options)

        return changed

    for owner, name in ((Path, "replace"), (Path, "rename"), (shutil, "rmtree"), (Path, "mkdir")):
        patched.setattr(owner, name, counted(name, getattr(owner, name)))
    patched.setattr(_checkpoint, "_sync", counted("sync", _checkpoint._sync))
    return moments


def test_a_save_that_is_killed_at_any_moment_leaves_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encoder_of(step: int) -> Callable[[Path], None]:
        return lambda path: path.write_text(str(step), encoding="utf-8") and None

    model, optimizer = a_run(seed=0, steps=1)
    state = a_state(model, optimizer)
    newest = set()
    for moment in itertools.count():
        run_dir = tmp_path / str(moment)
        Checkpoints(run_dir, keep=1).save(10, state, encoder_of(10))
        with monkeypatch.context() as patched:
            moments = killed_at(patched, moment)
            with contextlib.suppress(Killed):
                Checkpoints(run_dir, keep=1).save(20, state, encoder_of(20))
        if len(moments) <= moment:  # the save has no further moment
            break

        # The newest checkpoint loads, and the encoder file is not older.
        after = Checkpoints(run_dir, keep=1)
        last = max(after.steps())
        after.load(last, state)
        assert int((run_dir / "encoder.safetensors").read_text(encoding="utf-8")) >= last
        newest.add(last)

        # The next save removes what is left.
        after.save(30, state, encoder_of(30))
        assert [path.name for path in after.folder.iterdir()] == ["step-00000030"]
    assert newest == {10, 20}
    assert {"replace", "rename", "rmtree", "mkdir", "sync"} == set(moments)


def test_the_moments_of_the_optimizer_are_not_copied_on_their_device(tmp_path: Path) -> None:
    """Every tensor is written from the memory of the optimizer, as a clone would double it."""
    model, optimizer = a_run(seed=0, steps=1)
    tensors = _optimizer_tensors(optimizer, model)
    states = {id(tensor) for state in optimizer.state.values() for tensor in state.values()}
    assert {id(tensor) for tensor in tensors.values()} == states
