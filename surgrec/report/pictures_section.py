"""Pictures of what an encoder makes of clips that it was not trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from surgrec.cli import from_plain
from surgrec.errors import StorageError
from surgrec.features import EncoderChoice, FrozenEncoder, open_encoder
from surgrec.masks import tube_masks
from surgrec.models import Encoder, load_strictly
from surgrec.normalize import denormalize
from surgrec.objectives import MaeObjective, MaeObjectiveConfig
from surgrec.report.example_clips import ShownClips, choose_samples, read_clips
from surgrec.report.feature_pca import TokenColors, token_colors
from surgrec.report.html import Markup, element, image, join, missing, note
from surgrec.report.images import frame_pixels, jpeg, png
from surgrec.report.reconstruction import reconstruct
from surgrec.report.runs import Run
from surgrec.shards import Sample, Source
from surgrec.training import Checkpoints

_NUM_CLIPS, _NUM_MOMENTS = 6, 4
_MOST_PX = 128
"""Larger frames are reduced, so that the page stays small."""
_RANDOM_SEED = 0


@dataclass(frozen=True, kw_only=True)
class PictureRow:
    """One row of the pictures of every clip: the same clips, seen in one way."""

    label: str
    pictures: Float[Tensor, "b t c h w"]
    """RGB, one picture for each tubelet along time."""
    hard_edges: bool = False
    """Whether its pixels are to be seen as squares."""


def pictures_section(run: Run, sources: Mapping[str, Source]) -> Markup:
    """Reconstructions of an MAE, and the features of any encoder as colors; or what is missing for them."""
    heading = element("h3", "Pictures")
    if run.trained is None:
        return join(
            [
                heading,
                missing(
                    f"{run.run_dir} holds no encoder yet; a run saves one with each checkpoint."
                ),
            ]
        )
    sampling, config = run.trained.sampling, run.trained.encoder.config
    drawn = run.trained.facts["provenance"]["order"]["mixture"]["splits"]
    chosen = choose_samples(
        sources, drawn_splits=drawn, min_duration_s=sampling.span_s, count=_NUM_CLIPS
    )
    try:
        clips = read_clips(chosen, sampling, config.crop_px)
    except StorageError as error:
        return join([heading, missing(f"No clip can be shown: {error}.")])
    bad = [missing(f"A clip is missing: {reason}.") for reason in clips.bad]
    if not clips.samples:
        nothing = (
            f"No clip of {sampling.span_s:g} s or more of the corpora of {run.name} can be shown."
        )
        return join([heading, *bad, missing(nothing)])
    splits = " and ".join(sorted({sample.clip.split for sample in clips.samples}))
    origin = (
        f"Clips of the stored splits {splits}, which this run does not draw from."
        if chosen.held_out
        else f"The corpora hold no split that this run does not draw from: these clips of {splits} are ones it trains on."
    )
    parts = [heading, note(origin), *bad, _features(run, run.trained, clips)]
    if run.recipe == "mae":
        parts.insert(-1, _reconstruction(run, run.trained, clips))
    return join(parts)


def _reconstruction(run: Run, trained: FrozenEncoder, clips: ShownClips) -> Markup:
    step = max(Checkpoints(run.run_dir, keep=1).steps(), default=None)
    if step is None:
        return missing(
            f"{run.run_dir} holds no checkpoint, and so no decoder: there is no reconstruction to show."
        )
    stated = trained.facts["provenance"]["config"]["objective"]
    objective_config = from_plain(MaeObjectiveConfig, stated, f"{run.run_dir}, objective")
    objective = _mae_objective(run, trained, objective_config, step)
    config = trained.encoder.config
    positions = np.arange(len(clips.samples))
    masks = tube_masks(config.grid, objective_config.mask_ratio, seed=0, positions=positions)
    with torch.no_grad():
        shown = reconstruct(clips.pixels, objective.predict(clips.pixels, masks), masks, config)
    rows = [
        PictureRow(label="masked", pictures=_first_frames(shown.masked, trained), hard_edges=True),
        PictureRow(
            label="mean color", pictures=_first_frames(shown.mean_color, trained), hard_edges=True
        ),
        PictureRow(label="predicted", pictures=_first_frames(shown.predicted, trained)),
        PictureRow(label="original", pictures=_first_frames(shown.original, trained)),
    ]
    words = (
        f"Reconstruction at step {step}, {objective_config.mask_ratio:.0%} of each frame hidden. The decoder predicts the "
        "pixels of a hidden tubelet after its own mean and deviation were taken out; these are put back from the "
        "original. So the mean color of each tubelet is given, as the second row shows it, and what the third row has beyond "
        "that was learned. Visible tubelets are shown as they are."
    )
    return join([note(words), _figures(clips.samples, rows)])


def _features(run: Run, trained: FrozenEncoder, clips: ShownClips) -> Markup:
    untrained = open_encoder(
        EncoderChoice(path=run.run_dir, random_seed=_RANDOM_SEED), torch.device("cpu")
    )
    own, baseline = (_colors(encoder.encoder, clips) for encoder in (trained, untrained))
    rows = [
        PictureRow(label="frame", pictures=_first_frames(denormalize(clips.pixels), trained)),
        PictureRow(label=run.name, pictures=own.pictures, hard_edges=True),
        PictureRow(label="random init", pictures=baseline.pictures, hard_edges=True),
    ]
    words = (
        "Features as colors: the first three principal components of all tokens shown here are red, green and blue, for "
        "each encoder by itself. Alike colors within a row are alike features; colors of different rows say nothing of "
        f"each other. The three hold {own.explained:.0%} of the variance of {run.name}, and {baseline.explained:.0%} with "
        f"random weights (the same architecture, seed {_RANDOM_SEED})."
    )
    return join([note(words), _figures(clips.samples, rows)])


def _colors(encoder: Encoder, clips: ShownClips) -> TokenColors:
    with torch.no_grad():  # a clip at a time: the tokens of one fit where those of all may not
        tokens = torch.cat(
            [encoder(clips.pixels[place : place + 1]) for place in range(len(clips.samples))]
        )
    return token_colors(tokens, encoder.config.grid)


def _first_frames(
    clips: Float[Tensor, "b c t h w"], trained: FrozenEncoder
) -> Float[Tensor, "b n c h w"]:
    """The first frame of each tubelet along time."""
    frames: Float[Tensor, "b n c h w"] = rearrange(
        clips[:, :, :: trained.encoder.config.tubelet_size], "b c t h w -> b t c h w"
    )
    return frames


def _figures(samples: Sequence[Sample], rows: Sequence[PictureRow]) -> Markup:
    """A figure for each clip: its rows of pictures below each other, moments from left to right."""
    return element(
        "div",
        *(_figure(place, sample, rows) for place, sample in enumerate(samples)),
        class_="clips",
    )


def _figure(place: int, sample: Sample, rows: Sequence[PictureRow]) -> Markup:
    clip = sample.clip
    caption = (
        f"{clip.domain}: {clip.source}, case {clip.case}, {clip.split}, from {clip.start_s:g} s"
    )
    moments = evenly_spread(rows[0].pictures.shape[1], _NUM_MOMENTS)
    cells = [
        cell
        for row in rows
        for cell in (
            element("span", row.label),
            *(_picture(row, place, moment) for moment in moments),
        )
    ]
    strip = element("div", *cells, class_="strip", style=f"--moments: {len(moments)}")
    return element("figure", element("figcaption", caption), strip)


def evenly_spread(length: int, count: int) -> list[int]:
    """At most `count` of the numbers below `length`, evenly spread from the first to the last."""
    return sorted({round(place) for place in np.linspace(0, length - 1, count).tolist()})


def _picture(row: PictureRow, place: int, moment: int) -> Markup:
    pixels = frame_pixels(row.pictures[place, moment], _MOST_PX)
    if row.hard_edges:
        return image(png(pixels), "png", alt=row.label, pixelated=True)
    return image(jpeg(pixels, quality=85), "jpeg", alt=row.label)


def _mae_objective(
    run: Run, trained: FrozenEncoder, config: MaeObjectiveConfig, step: int
) -> MaeObjective:
    """Encoder and decoder of a checkpoint.

    Raises:
        CheckpointError: The file is missing or damaged, or does not fit the config.
    """
    objective = MaeObjective(Encoder(trained.encoder.config), config)
    tensors = Checkpoints(run.run_dir, keep=1).tensors(step, "objective")
    load_strictly(objective, tensors, f"the checkpoint of step {step} of {run.run_dir}")
    return objective.eval()
