"""The models of a benchmark, encoders and vision-language models, from words of its command."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from surgrec.bench._choice import BenchEncoder, choose_encoders, copy_digest, named_values
from surgrec.errors import ConfigError, MissingError, cut

_SCHEMES = ("http://", "https://")
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")
"""Names as publishers and servers write them, such as `Qwen/Qwen2.5-VL-7B-Instruct`."""
_NOT_IN_FOLDERS = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, kw_only=True)
class BenchVlm:
    """A vision-language model. It is not trained on the tasks."""

    method: str
    """Name in tables."""
    model: str
    """Name at the endpoint."""
    place: str
    """Address of a server, or a local folder."""

    @property
    def name(self) -> str:
        """Name of folders: that in tables, or one with a digest if it is no name of a folder."""
        plain = _NOT_IN_FOLDERS.sub("-", self.method)
        if plain == self.method:
            return plain
        return f"{plain}-{hashlib.sha256(self.method.encode()).hexdigest()[:6]}"

    @property
    def is_served(self) -> bool:
        """Return whether a server answers."""
        return self.place.startswith(_SCHEMES)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of name and address of a served model, or of a folder's files by size and time.

        With another address the command runs again, and keeps the answers if the server tells the
        same model there. Other weights behind the same address are not noticed.
        """
        content = self.place if self.is_served else copy_digest(Path(self.place))
        return hashlib.sha256(json.dumps([self.model, content]).encode()).hexdigest()


Model = BenchEncoder | BenchVlm


def choose_models(
    encoders: Sequence[str], weights: Sequence[str] = (), vlms: Sequence[str] = ()
) -> list[Model]:
    """Return the encoders and the vision-language models that words name.

    Args:
        encoders: `NAME=RUN_OR_PRESET`: the encoders.
        weights: `NAME=FILE`: weights of presets.
        vlms: `NAME=URL_OR_FOLDER`, or `NAME=MODEL@URL`: the vision-language models.

    Raises:
        ConfigError: A word is wrong, or a name or an encoder is given twice.
        MissingError: An encoder or a folder does not exist.
    """
    found = choose_encoders(encoders, weights)
    return [*found, *_choose_vlms(vlms, found)]


def _choose_vlms(words: Sequence[str], encoders: Iterable[BenchEncoder]) -> list[BenchVlm]:
    """Return the vision-language models. The names of encoders are taken."""
    taken = {name for each in encoders for name in (each.method, each.name)}
    found = []
    for name, given in named_values(words, "--vlms", "URL_OR_FOLDER", pattern=_MODEL_NAME):
        # `NAME=MODEL@URL`: the server knows the model by another name than the tables.
        own, sign, address = given.rpartition("@http")
        served = bool(sign) and f"http{address}".startswith(_SCHEMES)
        model = BenchVlm(
            method=name,
            model=own if served else name,
            place=f"http{address}" if served else given,
        )

        if served and not _MODEL_NAME.fullmatch(own):
            raise ConfigError(
                f"--vlms {name} has the model {cut(own)!r}; use letters, digits and ._:/@+-"
            )
        if name in taken or model.name in taken:
            raise ConfigError(f"--vlms has the name {name}, which is taken; give another one")
        taken |= {name, model.name}
        found.append(model if model.is_served else _in_folder(model))
    return found


def _in_folder(model: BenchVlm) -> BenchVlm:
    """Return a model of a local folder, by its absolute path."""
    if not Path(model.place).is_dir():
        raise MissingError(
            f"the vision-language model {model.method} is {model.place}, which is neither a folder "
            "nor an address such as http://127.0.0.1:8000/v1; correct --vlms"
        )
    return replace(model, place=str(Path(model.place).absolute()))
