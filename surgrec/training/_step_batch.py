"""The batch of one rank at one step, whose parts arrive while earlier ones are computed."""

import time
from collections.abc import Iterator

from surgrec.clips import ClipBatch
from surgrec.errors import TrainingError
from surgrec.training._ranks import note_progress


class StepBatch:
    """The parts of a batch, in order. Only the current part and the next one have frames.

    Args:
        parts: Parts of this batch and of all later ones, from `clip_batches`.
        count: Parts of a batch.
        samples: Samples of a batch.
    """

    def __init__(self, parts: Iterator[ClipBatch], count: int, samples: int) -> None:
        self.samples = samples
        self.wait_s = 0.0
        """Seconds that the training has waited for parts so far."""
        self._parts = parts
        self._count = count
        self._arrived: list[ClipBatch] = []

    def __iter__(self) -> Iterator[ClipBatch]:
        """Yield the parts that have not been taken yet. Raises as `clip_batches` does."""
        while len(self._arrived) < self._count:
            asked = time.perf_counter()
            part = next(self._parts)
            self.wait_s += time.perf_counter() - asked
            note_progress()
            self._arrived.append(part.without_frames())
            yield part

    def require_taken(self, step: int) -> None:
        """Refuse a step that left parts to the next one, whose samples would be of other slots.

        Raises:
            TrainingError: The recipe has not taken all parts.
        """
        if len(self._arrived) < self._count:
            raise TrainingError(
                f"the recipe has taken {len(self._arrived)} of {self._count} parts of step {step}; "
                "let it iterate over `run.parts` to the end in every step"
            )

    def without_frames(self) -> ClipBatch:
        """Return the batch as far as it has arrived, without frames."""
        return ClipBatch.joined(self._arrived)
