"""Import the rooms that need torch, or say how to install it."""

from collections.abc import Iterator
from contextlib import contextmanager

from surgrec.errors import SetupError, how_to_install

_OUR_PACKAGES = ("surgrec", "surgrec_shard")


@contextmanager
def train_extra() -> Iterator[None]:
    """Turn a missing package of the extra `train` into one sentence.

    Commands import torch and its users inside their functions, in this `with` statement: so
    `surgrec --help` takes half a second, and `surgrec mix` needs no torch at all.

    Raises:
        SetupError: A package is not installed.

    Example:
        with train_extra():
            from surgrec.features import extract
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in _OUR_PACKAGES:
            raise
        raise SetupError(f"{package} is not installed; {how_to_install('train')}") from error
