"""The choice of an engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from surgrec.machines import EngineName, require_engine_of_address
from surgrec_shard.encode import EncodeSettings
from surgrec_shard.engines._engine import Engine
from surgrec_shard.engines._local import LocalEngine
from surgrec_shard.engines._node_check import marked
from surgrec_shard.engines._ray import RayEngine


@contextmanager
def open_engine(
    name: EngineName, address: str, *, workers: int, work: Path, encode: EncodeSettings
) -> Iterator[Engine]:
    """Yield an engine that is closed at the end.

    Args:
        name: Name of the engine.
        address: Address of a Ray cluster; empty: see `RayEngine`.
        workers: Threads of the local engine; cores of a Ray cluster that is started for the build.
        work: Work folder of the build; all machines of a cluster must share it.
        encode: How clips are stored.

    Raises:
        ConfigError: An address is given for the local engine.
        SetupError: Ray is not installed, or the cluster does not answer.
        StorageError: The work folder cannot be written.
    """
    require_engine_of_address(name, address)
    if name == "local":
        with LocalEngine(workers) as engine:
            yield engine
        return

    with marked(work, encode) as check, RayEngine(address, workers=workers, check=check) as engine:
        yield engine
