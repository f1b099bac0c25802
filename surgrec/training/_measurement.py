"""Measurements of the encoder by all ranks, which end early if the run is asked to stop."""

from collections.abc import Callable
from typing import TypeVar

from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from surgrec.training._ranks import gathered, note_progress

Item = TypeVar("Item")


class StoppedMeasurement(Exception):  # noqa: N818 - it is no error
    """A measurement has ended without a result, because the run was asked to stop."""


def gathered_unless_stopped(
    accelerator: Accelerator,
    encoder: nn.Module,
    work: Callable[[], list[Item]],
    *,
    is_stop_coming: Callable[[], bool],
) -> list[Item]:
    """Return the results of all ranks, in the order of the items of `own_share`. A collective.

    Args:
        accelerator: Connects the ranks.
        encoder: The measured encoder.
        work: Passes the clips of this rank through the encoder, and returns their results.
        is_stop_coming: Whether a rank was asked to stop; it is called before each forward pass.

    Raises:
        StoppedMeasurement: A rank was asked to stop meanwhile; on all ranks.
    """

    def go_on_unless_stopped(*_: object) -> None:
        note_progress()  # a measurement may take longer than a rank may be silent
        if is_stop_coming():
            raise StoppedMeasurement

    share: list[Item] | None = None
    hook = encoder.register_forward_pre_hook(go_on_unless_stopped)
    try:
        go_on_unless_stopped()
        share = work()
    except StoppedMeasurement:
        pass
    finally:
        hook.remove()

    # The ranks agree, as some may have completed their shares before the request.
    is_stopped = any(gather_object([share is None]))
    if share is None or is_stopped:
        raise StoppedMeasurement
    return gathered(accelerator, share)
