"""`surgrec.load_clips` in a plain loop and under the conventions of other libraries.

These tests follow the protocols of torchdata and Lightning step by step; the slow tests in
`test_other_frameworks.py` install both.
"""

import pickle
import traceback
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader

import surgrec
from surgrec.clips import (
    AugmentConfig,
    ClipDataset,
    ClipSampling,
    LoaderConfig,
    StepSampler,
    clip_batches,
    to_model_input,
)
from surgrec.clips._clip_loader import ClipLoader
from surgrec.errors import ConfigError, MixtureError
from surgrec.shards import open_corpus
from surgrec.stream import Level, Mixture, Stream

Batch = dict[str, Any]
OPTIONS: dict[str, Any] = {
    "num_frames": 4,
    "crop_px": 32,
    "batch_size": 4,
    "seed": 5,
    "num_workers": 0,
}


def load(corpus: Path, **options: Any) -> ClipLoader:
    return surgrec.load_clips(corpus, **(OPTIONS | options))


def positions(batches: list[Batch]) -> list[int]:
    return [position for batch in batches for position in batch["position"].tolist()]


def equal(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a["video"], b["video"])
        and torch.equal(a["position"], b["position"])
        and (a["key"], a["source"]) == (b["key"], b["source"])
        for a, b in zip(one, other, strict=True)
    )


def moved(value: Any, device: torch.device) -> Any:
    """Move a batch as Lightning's apply_to_collection does, through plain containers."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: moved(item, device) for key, item in value.items()}
    if isinstance(value, list):
        return [moved(item, device) for item in value]
    assert isinstance(value, (str, int, float, bool)), f"{type(value)} is not a plain value"
    return value


@pytest.fixture(scope="module")
def ten(tiny_corpus: Path) -> list[Batch]:
    """Return the first ten batches of a single rank."""
    return list(load(tiny_corpus, steps=10))


def test_batches_equal_those_of_the_underlying_loader(tiny_corpus: Path, ten: list[Batch]) -> None:
    stream = Stream(open_corpus([tiny_corpus]), Mixture(), seed=5)
    sampling = ClipSampling(num_frames=4, fps=4.0)
    dataset = ClipDataset(stream, sampling, AugmentConfig(), LoaderConfig(num_workers=0))
    sampler = StepSampler(global_batch=4, rank=0, world_size=1, start_step=0, steps=10)
    for batch, raw in zip(ten, clip_batches(dataset, sampler), strict=True):
        assert torch.equal(batch["video"], to_model_input(raw, 32, torch.device("cpu")))
        assert (batch["key"], batch["source"]) == (raw.keys, raw.sources)
        assert batch["position"].tolist() == raw.positions.tolist()


def test_a_batch_is_a_dict_of_tensors_and_lists(ten: list[Batch]) -> None:
    batch = ten[0]
    assert list(batch) == ["video", "key", "source", "position"]
    assert (batch["video"].shape, batch["video"].dtype) == ((4, 3, 4, 32, 32), torch.float32)
    assert (batch["position"].shape, batch["position"].dtype) == ((4,), torch.int64)
    assert all(isinstance(word, str) for word in batch["key"] + batch["source"])


def test_every_entry_of_a_batch_with_views_counts_clips(
    tiny_corpus: Path, ten: list[Batch]
) -> None:
    batch = next(iter(load(tiny_corpus, views=3)))
    assert batch["video"].shape == (12, 3, 4, 32, 32)
    assert batch["position"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert (len(batch["key"]), len(batch["source"])) == (12, 12)
    assert torch.equal(batch["video"][::3], ten[0]["video"])


def test_workers_do_not_change_the_batches(tiny_corpus: Path, ten: list[Batch]) -> None:
    assert equal(list(load(tiny_corpus, steps=10, num_workers=1)), ten)


def test_a_plain_loop_trains(tiny_corpus: Path) -> None:
    model = torch.nn.Conv3d(3, 2, kernel_size=4, stride=4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model.weight.detach().clone()
    for batch in load(tiny_corpus, steps=2):
        model(batch["video"]).square().mean().backward()
        optimizer.step()
    assert not torch.equal(model.weight, before)


def test_a_pass_has_steps_batches_and_the_next_one_continues(
    tiny_corpus: Path, ten: list[Batch]
) -> None:
    clips = load(tiny_corpus, steps=5)
    assert len(clips) == 5
    assert equal(list(clips) + list(clips), ten)


def test_a_loop_after_a_break_continues_behind_the_last_batch(
    tiny_corpus: Path, ten: list[Batch]
) -> None:
    clips = load(tiny_corpus, steps=10)
    first = list(islice(clips, 3))
    assert equal(first + list(clips), ten)


def test_without_steps_the_loader_is_endless(tiny_corpus: Path, ten: list[Batch]) -> None:
    clips = load(tiny_corpus)
    assert equal(list(islice(clips, 10)), ten)
    with pytest.raises(TypeError, match="an endless loader has no length; give `steps`"):
        len(clips)


def test_a_saved_state_continues_exactly_with_other_workers(
    tiny_corpus: Path, tmp_path: Path, ten: list[Batch]
) -> None:
    clips = load(tiny_corpus, steps=10)
    list(islice(clips, 4))
    torch.save(clips.state_dict(), tmp_path / "clips.pt")
    resumed = load(tiny_corpus, steps=10, num_workers=1)
    resumed.load_state_dict(torch.load(tmp_path / "clips.pt"))
    assert equal(list(resumed), ten[4:])


def test_a_saved_state_continues_on_another_number_of_ranks(
    tiny_corpus: Path, ten: list[Batch]
) -> None:
    clips = load(tiny_corpus, rank=1, world_size=2)
    list(islice(clips, 2))
    resumed = load(tiny_corpus, steps=10)
    resumed.load_state_dict(clips.state_dict())
    assert equal(list(resumed), ten[4:])


def test_a_state_within_a_global_batch_is_refused(tiny_corpus: Path) -> None:
    clips = load(tiny_corpus)
    list(islice(clips, 3))
    resumed = load(tiny_corpus, batch_size=8)
    resumed.load_state_dict(clips.state_dict())
    with pytest.raises(ConfigError, match=r"position 12 is not a multiple of the global batch 8"):
        next(iter(resumed))


@pytest.mark.parametrize("change", [{"seed": 6}, {"mixture": {"weights": {"gamma": 3.0}}}])
def test_the_state_of_another_stream_is_refused(tiny_corpus: Path, change: Any) -> None:
    state = load(tiny_corpus).state_dict()
    with pytest.raises(ConfigError, match="saved with another corpus, mixture or seed"):
        load(tiny_corpus, **change).load_state_dict(state)


def test_a_mixture_may_be_an_object_a_dict_or_a_file(tiny_corpus: Path, tmp_path: Path) -> None:
    file = tmp_path / "mixture.yaml"
    file.write_text("levels: [{by: source, alpha: 0.0}]\nweights: {alpha: 0.0}\n")
    fields = {"levels": [{"by": "source", "alpha": 0.0}], "weights": {"alpha": 0.0}}
    mixture = Mixture(levels=[Level(by="source", alpha=0.0)], weights={"alpha": 0.0})
    batches = [list(load(tiny_corpus, mixture=form, steps=3)) for form in (mixture, fields, file)]
    assert equal(batches[0], batches[1])
    assert equal(batches[0], batches[2])
    assert {source for batch in batches[0] for source in batch["source"]} == {"beta", "gamma"}


def test_an_unknown_field_of_a_mixture_is_refused_by_name(tiny_corpus: Path) -> None:
    with pytest.raises(ConfigError, match=r"wieghts.*weights"):
        load(tiny_corpus, mixture={"wieghts": {"alpha": 1.0}})


def test_a_missing_mixture_file_is_refused_by_name(tiny_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config .*mixture\.yaml does not exist; check the path"):
        load(tiny_corpus, mixture=tmp_path / "mixture.yaml")


def test_stored_clips_shorter_than_the_span_are_refused_at_once(tiny_corpus: Path) -> None:
    with pytest.raises(MixtureError, match="shorter than the 4 s"):
        load(tiny_corpus, num_frames=16)


def test_frames_repeat_only_if_that_is_allowed(tiny_corpus: Path) -> None:
    with pytest.raises(MixtureError, match="store 8 frames per second, but a training clip has 60"):
        load(tiny_corpus, fps=60.0)
    clips = load(tiny_corpus, fps=60.0, allow_repeated_frames=True, steps=1)
    assert len(list(clips)) == 1


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_frame_rate_is_refused(tiny_corpus: Path, fps: float) -> None:
    with pytest.raises(ConfigError, match="fps is"):
        load(tiny_corpus, fps=fps)


@pytest.mark.parametrize("option", ["batch_size", "crop_px", "views", "steps"])
def test_zero_of_anything_is_refused(tiny_corpus: Path, option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option} is 0; give at least 1"):
        load(tiny_corpus, **{option: 0})


def test_bad_samples_are_listed_on_the_loader(corpus_copy: Path) -> None:
    for path in (corpus_copy / "alpha").glob("alpha-train-*.tar"):
        data = bytearray(path.read_bytes())
        data[2000] ^= 4
        path.write_bytes(data)
    clips = load(corpus_copy, steps=5)
    batches = list(clips)
    assert clips.quarantined
    for entry in clips.quarantined:
        assert entry.key not in batches[entry.position // 4]["key"]


# Ranks


def test_the_ranks_share_each_global_batch(tiny_corpus: Path, ten: list[Batch]) -> None:
    ranks = [list(load(tiny_corpus, steps=5, rank=rank, world_size=2)) for rank in range(2)]
    assert equal([batch for step in zip(*ranks, strict=True) for batch in step], ten)


def test_ranks_come_from_the_variables_of_the_launcher(
    tiny_corpus: Path, ten: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = load(tiny_corpus, steps=5)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert equal(list(clips), ten[1::2]), "read when the loop starts, after Lightning has set them"


def test_ranks_come_from_torch_distributed_once_it_is_initialized(
    tiny_corpus: Path, ten: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    assert equal(list(load(tiny_corpus, steps=5)), ten[1::2])


@pytest.mark.parametrize(
    "variables",
    [
        {"WORLD_SIZE": "2"},
        {"SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_STEP_ID": "0"},
    ],
    ids=["WORLD_SIZE", "srun"],
)
def test_several_processes_without_a_rank_are_refused(
    tiny_corpus: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="2 processes were launched, but RANK is not set"):
        next(iter(load(tiny_corpus)))


def test_a_rank_without_a_world_size_is_refused(tiny_corpus: Path) -> None:
    with pytest.raises(ConfigError, match="rank is 1 and world_size is None"):
        load(tiny_corpus, rank=1)


# Other libraries


def test_lightning_can_move_a_batch_to_a_device(ten: list[Batch]) -> None:
    batch = moved(ten[0], torch.device("meta"))
    assert batch["video"].is_meta
    assert batch["position"].is_meta
    assert (batch["key"], batch["source"]) == (ten[0]["key"], ten[0]["source"])


def test_lightning_finds_the_methods_by_which_it_saves_a_loader(tiny_corpus: Path) -> None:
    clips = load(tiny_corpus)
    assert callable(clips.state_dict)
    assert callable(clips.load_state_dict)
    assert not isinstance(clips, DataLoader), "Lightning would give a DataLoader another sampler"


def test_a_dataloader_passes_batches_through(tiny_corpus: Path, ten: list[Batch]) -> None:
    loader = DataLoader(load(tiny_corpus, steps=10), batch_size=None)
    assert len(loader) == 10
    assert equal(list(loader), ten)


def test_workers_of_a_dataloader_around_the_loader_are_refused(tiny_corpus: Path) -> None:
    loader = DataLoader(load(tiny_corpus, steps=10), batch_size=None, num_workers=1)
    with pytest.raises(
        ConfigError, match="load_clips and clip_batches start workers themselves"
    ) as caught:
        next(iter(loader))
    traceback.clear_frames(caught.tb)  # torch's frames would keep the worker alive for 5 s


def test_a_loader_inside_a_dataloader_resumes_from_its_saved_state(
    tiny_corpus: Path, ten: list[Batch]
) -> None:
    """torchdata's StatefulDataLoader makes these calls: save, restore in a new loader, iterate."""

    def batches(clips: ClipLoader) -> Iterator[Batch]:
        return iter(DataLoader(clips, batch_size=None, num_workers=0))

    clips = load(tiny_corpus, steps=10)
    first = list(islice(batches(clips), 4))
    state = pickle.loads(pickle.dumps(clips.state_dict()))
    resumed = load(tiny_corpus, steps=10)
    resumed.load_state_dict(state)
    assert equal(first + list(batches(resumed)), ten)


def test_accelerate_leaves_the_loader_as_it_is(tiny_corpus: Path) -> None:
    clips = load(tiny_corpus)
    assert Accelerator(cpu=True).prepare(clips) is clips


@pytest.mark.parametrize("dispatch", [None, False], ids=["dispatched", "sharded"])
@pytest.mark.parametrize("rank", [0, 1])
def test_accelerate_cannot_divide_the_batches_a_second_time(
    tiny_corpus: Path, rank: int, dispatch: bool | None
) -> None:
    clips = load(tiny_corpus, steps=10, rank=rank, world_size=2)
    prepared = prepare_data_loader(
        DataLoader(clips, batch_size=4),
        torch.device("cpu"),
        num_processes=2,
        process_index=rank,
        put_on_device=True,
        dispatch_batches=dispatch,
    )
    with pytest.raises(ConfigError, match=f"share of rank {rank} of 2, and Accelerate"):
        next(iter(prepared))


def test_the_loader_survives_pickling(tiny_corpus: Path, ten: list[Batch]) -> None:
    clips = load(tiny_corpus, steps=10)
    first = list(islice(clips, 2))  # threads are running by now
    sent = pickle.loads(pickle.dumps(clips))
    assert equal(first + list(sent), ten)
