"""The names of the engines."""

from typing import Literal

from surgrec.errors import ConfigError

EngineName = Literal["local", "ray"]
"""`local`: this machine; `ray`: a Ray cluster."""


def require_engine_of_address(engine: EngineName, address: str) -> None:
    """Refuse the address of a cluster for an engine without one.

    Raises:
        ConfigError: An address is given for the local engine.
    """
    if engine == "local" and address:
        raise ConfigError(f"--address {address} is for --engine ray; give both or neither")
