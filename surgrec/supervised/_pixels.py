"""The pixels of all windows of a task: a baseline beside every trained head."""

from surgrec.evaluation.tasks import pixels_choice
from surgrec.features import open_encoder
from surgrec.supervised._outputs import WindowOutputs, window_outputs
from surgrec.supervised._task import SupervisedTask
from surgrec.training.session import Session

_FOLDER = "pixels"


def pixels_of_windows(task: SupervisedTask, session: Session) -> WindowOutputs:
    """Return small pictures of all labeled windows, as `surgrec evaluate` makes them. A collective.

    Files of an earlier start are used again.
    """
    parts = list(task.planned.by_name.values())
    sampling = task.audited.sampling
    encoder = open_encoder(pixels_choice(sampling), session.device)

    return window_outputs(
        session,
        task.audited.videos,
        task.entries(*parts),
        encoder,
        task.config.out / _FOLDER,
        num_heads=1,
        stride_s=task.config.stride_s,
        precision=task.config.precision,
        settings={
            "encoder_sha256": encoder.facts["sha256"],
            "num_frames": sampling.num_frames,
            "fps": sampling.fps,
            "stride_s": task.config.stride_s,
            "precision": task.config.precision,
        },
        expected=[row.key for part in parts for row in part.rows],
    )
