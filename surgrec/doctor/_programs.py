"""Checks of the programs and packages: ffmpeg, torchcodec, torch and its GPUs."""

import importlib.metadata
import platform
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from surgrec_shard.encoder import encoder_versions

from surgrec.doctor._finding import Finding, fault_of
from surgrec.errors import MachineError, SampleError, SetupError, StorageError, how_to_install
from surgrec.recordings import find_program
from surgrec.recordings.process import starting

_TRAIN = how_to_install("train")
_FRAMES = 8
"""Frames of the clip that is encoded and decoded as a trial."""
# fmt: off
_TRIAL = (
    "-f", "lavfi", "-i", f"testsrc2=size=128x96:rate={_FRAMES}:duration=1", "-pix_fmt", "yuv420p",
    "-c:v", "libx264", "-f", "mp4", "-movflags", "+faststart",
)
# fmt: on


def examine_programs() -> list[Finding]:
    """Check Python, ffmpeg, torchcodec, torch and the GPUs. It takes about five seconds."""
    system = f"Python {platform.python_version()}, {platform.platform(terse=True)}"
    findings = [Finding(what="Python", state="good", found=system), _ffmpeg()]

    if _version("torch") is None:
        lack = "not installed: corpora can be built, but not read for training or features"
        return [*findings, Finding(what="torch", state="note", found=lack, remedy=_TRAIN)]
    return [*findings, _torchcodec(), *_torch()]


def _ffmpeg() -> Finding:
    """Check that ffmpeg is there and encodes H.264."""
    what = "ffmpeg"
    try:
        program = find_program("ffmpeg")
        find_program("ffprobe")
        versions = encoder_versions()
    except (SetupError, StorageError, MachineError) as error:
        return fault_of(what, error)
    names = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "probe")
    return Finding(what=what, state="good", found=f"{program}: {names}")


def _torchcodec() -> Finding:
    """Check that torchcodec loads, and that it decodes what ffmpeg encodes."""
    what = "torchcodec"
    from surgrec.clips import Box, decode_clip, torchcodec_classes

    try:
        torchcodec_classes()
        clip = _trial_clip()
        if clip is None:
            lack = f"{_version(what)}; without ffmpeg no clip could be encoded to try it"
            return Finding(what=what, state="note", found=lack)
        times = np.arange(_FRAMES) / _FRAMES
        whole = Box(top=0, left=0, height=96, width=128)
        decode_clip(clip, times, whole, num_frames=_FRAMES, key="trial")
    except (SetupError, SampleError, MachineError) as error:
        return fault_of(what, error)
    return Finding(what=what, state="good", found=f"{_version(what)}, decodes H.264")


def _trial_clip() -> bytes | None:
    """Return a clip of one second; None without ffmpeg."""
    try:
        program = find_program("ffmpeg")
    except SetupError:
        return None
    with tempfile.TemporaryDirectory() as folder, starting(program):
        path = Path(folder) / "trial.mp4"
        command = [program, "-v", "error", "-nostdin", *_TRIAL, str(path)]
        subprocess.run(command, capture_output=True, check=False)
        return path.read_bytes() if path.is_file() else None


def _torch() -> list[Finding]:
    """Check that torch loads, and each GPU that it sees."""
    try:
        import torch
    except (ImportError, OSError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        remedy = "install torch again"
        return [Finding(what="torch", state="fault", found=reason, remedy=remedy)]

    cuda = f"CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
    found = Finding(what="torch", state="good", found=f"{torch.__version__}, {cuda}")
    if not torch.cuda.is_available():
        return [found, _no_gpu(bool(torch.version.cuda))]
    return [found, *(_gpu(number) for number in range(torch.cuda.device_count()))]


def _no_gpu(has_cuda: bool) -> Finding:
    if _has_nvidia_device():
        remedy = "compare the driver (nvidia-smi) with the CUDA version of torch"
        found = "a GPU is there, but torch cannot use it"
        if not has_cuda:
            remedy = "install a torch that was built for CUDA"
        return Finding(what="GPU", state="fault", found=found, remedy=remedy)
    found = "none: training and features run on the processor, for trials only"
    return Finding(what="GPU", state="note", found=found)


def _gpu(number: int) -> Finding:
    import torch

    properties = torch.cuda.get_device_properties(number)
    memory = f"{properties.total_memory / 2**30:.0f} GiB"
    what, found = f"GPU {number}", f"{properties.name}, {memory}"
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return Finding(what=what, state="good", found=f"{found}, bf16")
    remedy = "train with --precision no, or on a GPU of 2020 or later"
    return Finding(what=what, state="note", found=f"{found}, no bf16", remedy=remedy)


def _has_nvidia_device() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*"))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
