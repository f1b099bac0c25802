"""Work of the main process whose errors end all ranks."""

from collections.abc import Callable
from typing import TypeVar

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from surgrec.errors import SurgrecError

Result = TypeVar("Result")


def on_main(accelerator: Accelerator, work: Callable[[], Result]) -> Result:
    """Run `work` on the main process and return its result on every rank. A collective.

    If only the main process raised an error, the other ranks would wait for it.

    Raises:
        SurgrecError: `work` raised it, on the main process; every rank raises it.
        OSError: Likewise.
    """
    answer: list[Result | SurgrecError | OSError | None] = [None]
    if accelerator.is_main_process:
        try:
            answer = [work()]
        except (SurgrecError, OSError) as error:
            answer = [error]

    broadcast_object_list(answer)
    if isinstance(answer[0], (SurgrecError, OSError)):
        raise answer[0]
    return answer[0]  # type: ignore[return-value]  # None only if `work` returned it
