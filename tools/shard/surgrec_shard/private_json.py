"""JSON files in the private folder, which appear complete or not at all."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from surgrec.errors import SurgrecError
from surgrec.json_files import decode_json
from surgrec.storage import open_owned
from surgrec_shard.disk import MOVE_PRIVATE, writing_to

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ContentType = TypeVar("ContentType")


def write_private_json(path: Path, content: "DataclassInstance") -> None:
    """Write a dataclass as JSON.

    Args:
        path: The file, in a private folder.
        content: The dataclass. Paths in it become texts.

    Raises:
        StorageError: The file cannot be written.
    """
    partial = path.with_suffix(".partial")
    with writing_to(path.parent, MOVE_PRIVATE):
        with open_owned(partial, "w") as file:
            json.dump(asdict(content), file, default=str)
        partial.replace(path)


def read_private_json(
    path: Path, content_type: type[ContentType], *, error: type[SurgrecError], remedy: str
) -> ContentType | None:
    """Return the content of a file, or None if it does not exist.

    Args:
        path: The file, in a private folder.
        content_type: A dataclass.
        error: Raised if the file is damaged.
        remedy: Advice in this error.

    Raises:
        StorageError: The file belongs to another user, or is open to others.
    """
    try:
        with open_owned(path, "r") as file:
            text = file.read()
    except FileNotFoundError:
        return None
    return decode_json(text, content_type, str(path), error=error, remedy=remedy, file_names=True)
