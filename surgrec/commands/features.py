"""`surgrec features`: one feature vector per window of video."""

from pathlib import Path
from typing import Literal

from surgrec.commands._train_extra import train_extra
from surgrec.terminal import SOME_FAILED, escape, progress_bars, say
from surgrec.text import counted


def features(
    data: list[str],
    *,
    encoder: Path,
    out: Path,
    weights: Path | None = None,
    stride_s: float = 1.0,
    fps: float | None = None,
    allow_repeated_frames: bool = False,
    batch: int = 16,
    precision: Literal["no", "bf16"] = "no",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    processes: int = 1,
    engine: Literal["local", "ray"] = "local",
    address: str = "",
    random_seed: int | None = None,
    frame_fps: float = 0.0,
    frames_from: str = "",
) -> int:
    """Extract features of all videos of corpora, or of a folder of video files.

    To continue a killed extraction, run the same command again. Exit status 0: every window has a
    feature, except those that touch a gap without pictures, which features.json lists. Exit status
    3: other windows were left out, or videos are shorter than a window; features.json names them
    with the reason.

    Args:
        data: One or several corpora (folders, or s3://bucket/prefix), or one folder of video
            files. The names of these files appear in windows.parquet and features.json.
        encoder: Folder of a run, an encoder file, or a preset (`surgrec encoders`).
        out: Folder for the features: one file per video, windows.parquet and features.json.
        weights: Local file of a preset's weights. Nothing is downloaded.
        stride_s: Seconds from the start of one window to the start of the next.
        fps: Frames per second within a window. Default: the rate of the encoder's training.
        allow_repeated_frames: Also use videos with fewer frames per second. Their frames repeat,
            and the result counts these videos.
        batch: Windows per forward pass.
        precision: Autocast type of the forward passes.
        device: Device of the encoder; auto uses the GPUs, or the CPU if there is no GPU.
        processes: Videos processed at once, each in its own process; processes share the GPUs.
            With --engine ray: processes that share each GPU.
        engine: local: this machine. ray: a Ray cluster, whose machines share the folders of the
            videos, of the encoder and --out under the same paths (docs/many-machines.md).
        address: With --engine ray: HOST:PORT of the cluster. Default: that of RAY_ADDRESS, or else
            Ray is started on this machine.
        random_seed: Replace the weights with random ones from this seed, as a baseline.
        frame_fps: For folders of pictures, each of which is a video: rate of the picture numbers,
            per second.
        frames_from: With --frame_fps: regular expression as for `surgrec-shard build`.

    Example:
        surgrec features /data/corpus --encoder runs/jepa --out features/jepa
        surgrec features /data/videos --encoder runs/jepa --out features/videos --stride_s 0.5
    """
    with train_extra():
        from surgrec.features import EncoderChoice, ExtractConfig, extract

    choice = EncoderChoice(path=encoder, weights=weights, random_seed=random_seed, fps=fps)
    config = ExtractConfig(
        stride_s=stride_s,
        batch=batch,
        precision=precision,
        device=device,
        processes=processes,
        engine=engine,
        address=address,
        allow_repeated_frames=allow_repeated_frames,
    )

    windows = computed = failed = in_gaps = repeating = too_short = 0
    described = ""
    with progress_bars() as bars:
        bar = bars.add_task("videos", visible=False)
        for video in extract(
            data, choice, config, out, frame_fps=frame_fps, frames_from=frames_from
        ):
            described = f" of {video.encoder}"
            windows += video.windows
            failed += video.failed
            in_gaps += video.in_gaps
            repeating += video.repeats_frames
            too_short += video.is_too_short
            computed += 0 if video.reused else video.windows
            rate = f"videos, {computed / (bars.tasks[bar].elapsed or 1.0):.1f} windows/s"
            bars.update(
                bar, completed=video.done, total=video.total, description=rate, visible=True
            )

    left_out = f"; {failed} left out, features.json gives the reasons" if failed else ""
    if repeating:
        videos = counted(repeating, "video")
        say(f"features: frames repeat in {videos} with fewer frames per second")
    if in_gaps:
        touch = counted(in_gaps, "window touches", "windows touch")
        say(f"features: {touch} gaps without pictures; features.json lists the gaps")
    if too_short:
        say(
            f"features: videos shorter than a window: {too_short}; features.json lists them; a "
            "larger --fps makes windows shorter"
        )
    say(escape(f"features: {out}, {counted(windows, 'window')}{described}{left_out}"))
    return SOME_FAILED if failed or too_short else 0
