"""Engines: where the tasks of a build run.

A task is a function or a dataclass that can be pickled. It reads files and writes into folders that
all machines see, and may run twice: it then finds the finished result of the first time.

Example:
    >>> with LocalEngine(workers=4) as engine:
    ...     encoded = engine.submit(encode_task).result()
"""

from surgrec.machines import EngineName
from surgrec_shard.engines._engine import Engine, Needs, Shared, Task, completed
from surgrec_shard.engines._local import LocalEngine
from surgrec_shard.engines._open import open_engine

__all__ = [
    "Engine",
    "EngineName",
    "LocalEngine",
    "Needs",
    "Shared",
    "Task",
    "completed",
    "open_engine",
]
