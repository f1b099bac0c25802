"""Draw the section of pictures: reconstructions and features of held-out clips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from markupsafe import Markup
from torch import Tensor

from surgrec.errors import CheckpointError, StorageError
from surgrec.features.own_encoder import FrozenEncoder, open_own_encoder
from surgrec.json_files import typed
from surgrec.masks import tube_masks
from surgrec.models import ENCODER_FILE, Encoder, load_strictly
from surgrec.normalize import denormalize
from surgrec.objectives import MaeObjective, MaeObjectiveConfig
from surgrec.report._example_clips import ShownClips, choose_samples, read_clips
from surgrec.report._feature_pca import TokenColors, token_colors
from surgrec.report._html import render
from surgrec.report._images import jpeg, png, to_pixels
from surgrec.report._logged_run import LoggedRun
from surgrec.report._reconstruction import reconstruct
from surgrec.shards import Sample, Source
from surgrec.training import Checkpoints

_NUM_CLIPS, _NUM_MOMENTS = 6, 4

_MAX_PX = 128
"""Larger frames are reduced to this side, so that the page stays small."""

_RANDOM_SEED = 0


@dataclass(frozen=True, kw_only=True)
class PictureRow:
    """One row of pictures for each clip. Rows show the same clips in different ways."""

    label: str
    pictures: Float[Tensor, "b t c h w"]
    """RGB in about [0, 1], one picture for each tubelet along time."""
    pixelated: bool = False
    """Whether pixels are enlarged to squares, without smoothing."""


@dataclass(frozen=True, kw_only=True)
class ClipFigure:
    """The pictures of one clip, moments from left to right."""

    caption: str
    num_moments: int
    rows: list[tuple[str, bool, list[str]]]
    """Label of each row, whether it is pixelated, and its pictures as data addresses."""


@dataclass(frozen=True, kw_only=True)
class _ReconstructionFigures:
    """Figures that compare an MAE's prediction with the original."""

    step: int
    mask_ratio: float
    figures: list[ClipFigure]


@dataclass(frozen=True, kw_only=True)
class _FeatureFigures:
    """Figures of features as colors, from the run's encoder and from random weights."""

    explained: float
    """Share of the variance of the run's tokens that the colors hold."""
    random_explained: float
    """The same share for random weights."""
    figures: list[ClipFigure]


def pictures_section(run: LoggedRun, sources: Mapping[str, Source]) -> Markup:
    """Return the reconstructions of an MAE and the features of any encoder.

    A sentence takes the place of a picture that cannot be shown.

    Args:
        run: The run whose encoder is shown.
        sources: Readable sources of the run's corpora, by name.

    Raises:
        CheckpointError: The checkpoint of an MAE is damaged or does not fit its config.
    """
    if run.trained is None:
        return _missing(
            f"{run.run_dir} holds no encoder yet; a run saves one with each checkpoint."
        )

    # Choose and decode the clips.
    sampling = run.trained.sampling
    chosen = choose_samples(
        sources,
        drawn_splits=run.trained.facts["provenance"]["order"]["mixture"]["splits"],
        min_duration_s=sampling.span_s,
        count=_NUM_CLIPS,
    )
    try:
        clips = read_clips(chosen, sampling, run.trained.encoder.config.crop_px)
    except StorageError as error:
        return _missing(f"No clip can be shown: {error}.")
    bad = [f"A clip is missing: {reason}." for reason in clips.bad]
    if not clips.samples:
        length = f"{sampling.span_s:g} s or more"
        return _missing(*bad, f"No clip of {length} of the corpora of {run.name} can be shown.")

    # Draw them.
    return render(
        "pictures.html.j2",
        run=run,
        sentences=bad,
        held_out=chosen.held_out,
        splits=sorted({sample.clip.split for sample in clips.samples}),
        is_mae=run.recipe == "mae",
        reconstruction=_reconstruction(run, run.trained, clips) if run.recipe == "mae" else None,
        features=_features(run, run.trained, clips),
        random_seed=_RANDOM_SEED,
    )


def evenly_spread(length: int, count: int) -> list[int]:
    """Return at most `count` of the numbers below `length`, evenly spread from first to last."""
    return sorted({round(number) for number in np.linspace(0, length - 1, count).tolist()})


def _missing(*sentences: str) -> Markup:
    return render("pictures.html.j2", sentences=sentences, features=None)


def _reconstruction(
    run: LoggedRun, trained: FrozenEncoder, clips: ShownClips
) -> _ReconstructionFigures | None:
    """Return the predictions of the newest checkpoint. None if the run has no checkpoint."""
    step = max(Checkpoints(run.run_dir, keep=1).steps(), default=None)
    if step is None:
        return None

    # Predict the hidden tubelets of each clip.
    fields = trained.facts["provenance"].get("config", {}).get("objective", {})
    objective_config = typed(
        fields,
        MaeObjectiveConfig,
        f"{run.run_dir / ENCODER_FILE}, objective",
        error=CheckpointError,
        remedy="use the version of SurgRec that trained the run",
    )
    objective = _mae_objective(run, trained, objective_config, step)
    config = trained.encoder.config
    positions = np.arange(len(clips.samples))
    masks = tube_masks(config.grid, objective_config.mask_ratio, seed=0, positions=positions)
    with torch.no_grad():
        shown = reconstruct(clips.pixels, objective.predict(clips.pixels, masks), masks, config)

    masked, mean_color, predicted, original = (
        _first_frames(each, trained)
        for each in (shown.masked, shown.mean_color, shown.predicted, shown.original)
    )
    rows = [
        PictureRow(label="masked", pictures=masked, pixelated=True),
        PictureRow(label="mean color", pictures=mean_color, pixelated=True),
        PictureRow(label="predicted", pictures=predicted),
        PictureRow(label="original", pictures=original),
    ]
    return _ReconstructionFigures(
        step=step,
        mask_ratio=objective_config.mask_ratio,
        figures=_figures(clips.samples, rows),
    )


def _mae_objective(
    run: LoggedRun, trained: FrozenEncoder, config: MaeObjectiveConfig, step: int
) -> MaeObjective:
    """Return encoder and decoder of a checkpoint.

    Raises:
        CheckpointError: The file is missing, damaged, or does not fit the config.
    """
    objective = MaeObjective(Encoder(trained.encoder.config), config)
    tensors = Checkpoints(run.run_dir, keep=1).tensors(step, "objective")
    load_strictly(objective, tensors, f"the checkpoint of step {step} of {run.run_dir}")
    return objective.eval()


def _features(run: LoggedRun, trained: FrozenEncoder, clips: ShownClips) -> _FeatureFigures:
    cpu = torch.device("cpu")
    untrained = open_own_encoder(run.run_dir, cpu, random_seed=_RANDOM_SEED)
    colors = _colors(trained.encoder, clips)
    random_colors = _colors(untrained.encoder, clips)

    frames = _first_frames(denormalize(clips.pixels), trained)
    rows = [
        PictureRow(label="frame", pictures=frames),
        PictureRow(label=run.name, pictures=colors.pictures, pixelated=True),
        PictureRow(label="random init", pictures=random_colors.pictures, pixelated=True),
    ]
    return _FeatureFigures(
        explained=colors.explained,
        random_explained=random_colors.explained,
        figures=_figures(clips.samples, rows),
    )


def _colors(encoder: Encoder, clips: ShownClips) -> TokenColors:
    # One clip at a time, to limit memory.
    with torch.no_grad():
        tokens = torch.cat([encoder(clip[None]) for clip in clips.pixels])
    return token_colors(tokens, encoder.config.grid)


def _first_frames(
    clips: Float[Tensor, "b c t h w"], trained: FrozenEncoder
) -> Float[Tensor, "b n c h w"]:
    """Return the first frame of each tubelet along time."""
    first = clips[:, :, :: trained.encoder.config.tubelet_size]
    frames: Float[Tensor, "b n c h w"] = rearrange(first, "b c n h w -> b n c h w")
    return frames


def _figures(samples: Sequence[Sample], rows: Sequence[PictureRow]) -> list[ClipFigure]:
    """Return one figure for each clip, with the rows of pictures below each other."""
    moments = evenly_spread(rows[0].pictures.shape[1], _NUM_MOMENTS)

    figures = []
    for index, sample in enumerate(samples):
        clip = sample.clip
        figures.append(
            ClipFigure(
                caption=f"{clip.domain}: {clip.source}, case {clip.case}, {clip.split}, "
                f"from {clip.start_s:g} s",
                num_moments=len(moments),
                rows=[
                    (row.label, row.pixelated, [_picture(row, index, moment) for moment in moments])
                    for row in rows
                ],
            )
        )
    return figures


def _picture(row: PictureRow, clip_index: int, moment: int) -> str:
    pixels = to_pixels(row.pictures[clip_index, moment], _MAX_PX)
    return png(pixels) if row.pixelated else jpeg(pixels, quality=85)
