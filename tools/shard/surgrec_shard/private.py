"""The private folder: the key of the pseudonyms, names behind them, resume state, and reports.

Nothing in it may enter the corpus.
"""

import contextlib
import csv
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypedDict

from msgspec import Meta

from surgrec.errors import ConfigError, ShardError, StorageError
from surgrec.json_files import decode_json
from surgrec.recordings import Recording
from surgrec.shards import CorpusFile
from surgrec.storage import Store, make_owned_folder, open_owned
from surgrec.storage.lock import FolderLock, hold
from surgrec.terminal import escape, say
from surgrec_shard.disk import MOVE_PRIVATE, writing_to

_KEY_FILE, _HASHES_FILE = "key", "hashes.jsonl"
_KEY = re.compile("[0-9a-f]{64}")
_FACTS_OF_FILE = 4
"""Numbers behind the path of a file in a row of `hashes.jsonl`."""
_WAIT = "wait until it is done, then run this one again"


class _HashRow(TypedDict):
    """The digest of a file, as a row of `hashes.jsonl`."""

    file: str
    """Path, size, times of modification and change, and inode of the file, joined by `|`."""
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class PrivateFolder:
    """A folder that only its owner can open (mode 0700). It is created if it does not exist.

    Args:
        path: The folder.

    Raises:
        StorageError: The folder cannot be written, it or a file in it could be from another user,
            or its key is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            make_owned_folder(path)
        except StorageError as error:
            raise StorageError(f"--private {error}") from error
        self._key = self._read_or_create_key()
        self._hashes = self._read_hashes()

    @property
    def fingerprint(self) -> str:
        """12 hex digits that tell this key from others, and nothing about it."""
        return self._keyed("\0fingerprint")

    def case_name(self, source: str, case: str, patient: str = "") -> str:
        """Return the pseudonym of a case: 12 hex digits.

        A patient has one pseudonym in all sources, a case without a patient one in its source. Only
        the holder of the key can link a pseudonym to its case.
        """
        return self._keyed(f"\0patient\0{patient}" if patient else f"{source}\0{case}")

    def video_name(self, sha256: str) -> str:
        """Return the name of a video: 12 hex digits. It cannot be computed without the key."""
        return self._keyed(f"\0video\0{sha256}")

    def require_key_of(self, corpus: CorpusFile, store: Store) -> None:
        """Refuse a corpus that was built with another key.

        Raises:
            ShardError: The key has another fingerprint than that in `corpus.json`.
        """
        if corpus.key and corpus.key != self.fingerprint:
            raise ShardError(
                f"{store.address} was built with the key {corpus.key}, but {self.path / _KEY_FILE} "
                f"has the fingerprint {self.fingerprint}; give the folder of that key with "
                "--private, or build into another --out: another key would rename all cases"
            )

    def folder_in(self, work: Path) -> Path:
        """Create and return a folder for unfinished clips, which no other user can open.

        Other users and other private folders have other names in the same work folder.

        Raises:
            StorageError: The folder cannot be created, or belongs to another user.
        """
        with writing_to(work):
            work.parent.mkdir(parents=True, exist_ok=True)
            work.mkdir(mode=0o700, exist_ok=True)
        folder = work / self._keyed("\0work")
        make_owned_folder(folder)
        return folder

    def sha256(self, recording: Recording) -> str:
        """Return the SHA-256 of a recording, from the folder if the file has not changed since.

        A file is known by its path, size, inode, and times of modification and change. Hashing a
        large corpus takes hours.

        Raises:
            BadVideoError: The file changed while it was read, or cannot be read.
        """
        state = recording.identity
        times = f"{state.mtime_ns}|{state.ctime_ns}"
        identity = f"{recording.path.resolve()}|{state.size}|{times}|{state.inode}"

        if identity not in self._hashes:
            self._hashes[identity] = recording.sha256()
            line = json.dumps({"file": identity, "sha256": self._hashes[identity]})
            with (
                writing_to(self.path, MOVE_PRIVATE),
                open_owned(self.path / _HASHES_FILE, "a") as log,
            ):
                log.write(line + "\n")

        return self._hashes[identity]

    def files_of(self, names: Collection[str]) -> set[str]:
        """Return the paths of all files that had these names in a corpus."""
        return {
            _path_of(file)
            for file, sha256 in self._hashes.items()
            if self.video_name(sha256) in names or sha256[:12] in names
        }

    def forget(self, names: Collection[str], paths: Collection[str]) -> None:
        """Remove the digests of videos, by their names in a corpus or their paths."""
        resolved = {str(Path(path).resolve()) for path in paths} | self.files_of(names)
        kept = {
            file: sha256 for file, sha256 in self._hashes.items() if _path_of(file) not in resolved
        }

        path = self.path / _HASHES_FILE
        partial = path.with_suffix(".partial")
        with writing_to(self.path, MOVE_PRIVATE):
            with open_owned(partial, "w") as log:
                for file, sha256 in kept.items():
                    log.write(json.dumps({"file": file, "sha256": sha256}) + "\n")
            partial.replace(path)

        self._hashes = kept

    def write_report(self, name: str, rows: Sequence[Mapping[str, object]]) -> Path:
        """Write a CSV file that may show paths and case names. Return its path.

        Args:
            name: File name.
            rows: At least one row; all have the same columns.
        """
        path = self.path / name
        partial = path.with_suffix(".partial")
        with writing_to(self.path, MOVE_PRIVATE):
            with open_owned(partial, "w", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
            partial.replace(path)
        return path

    def lock(self) -> FolderLock:
        """Lock the folder for one build.

        Raises:
            ConfigError: Another build has locked it.
        """
        return hold(self.path, doing="building", remedy=_WAIT)

    def _keyed(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()[:12]

    def _read_or_create_key(self) -> bytes:
        path = self.path / _KEY_FILE
        with writing_to(self.path, MOVE_PRIVATE):
            # Two first builds at the same time must not create two keys.
            if not os.path.lexists(path):
                with hold(self.path, doing="creating a key", name="key.lock", remedy=_WAIT):
                    if not os.path.lexists(path):
                        _write_new_key(path)
            with open_owned(path, "r") as file:
                text = file.read(1000).strip()
        if not _KEY.fullmatch(text):
            raise StorageError(
                f"{path} does not contain a key of 64 hex digits; restore it from a backup, "
                "as a new key would rename all cases"
            )
        return bytes.fromhex(text)

    def _read_hashes(self) -> dict[str, str]:
        """Return the known digests by file. Damaged lines, such as a cut one, are left out."""
        hashes, damaged = {}, 0
        with (
            contextlib.suppress(FileNotFoundError),
            open_owned(self.path / _HASHES_FILE, "r") as log,
        ):
            for line in log:
                try:
                    row = decode_json(
                        line, _HashRow, "", error=StorageError, remedy="", file_names=True
                    )
                    hashes[row["file"]] = row["sha256"]
                except StorageError:
                    damaged += 1

        if damaged:
            say(
                f"[yellow]warning[/yellow] {escape(str(self.path / _HASHES_FILE))} has {damaged} "
                "damaged lines; their videos are hashed again"
            )

        return hashes


def _path_of(file: str) -> str:
    """Return the path in a `file` of `hashes.jsonl`. A path may contain `|` itself."""
    return file.rsplit("|", _FACTS_OF_FILE)[0]


def default_private_folder(store: Store) -> Path:
    """Return the private folder of a corpus, if none is given.

    It is beside a local corpus, and in the user's data folder for an object store: the current
    folder may be another one in the next build. A folder of an earlier version, whose name may
    stand for several addresses, is used only if the corpus was built with its key.

    Raises:
        ConfigError: The user has no home folder.
    """
    if store.is_local:
        return Path(store.address.rstrip("/") + ".private")
    place = store.address.partition("://")[2].strip("/")
    folders = _data_folder(store) / "surgrec"
    earlier = folders / f"{place.replace('/', '-')}.private"
    if (earlier / _KEY_FILE).is_file():
        corpus = CorpusFile.read(store)
        if corpus and corpus.key == PrivateFolder(earlier).fingerprint:
            return earlier

    bucket, _, prefix = place.replace("%", "%25").partition("/")
    return folders / f"{bucket}%2F{prefix.replace('/', '%2F')}.private"


def _data_folder(store: Store) -> Path:
    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    if data.is_absolute():
        return data
    try:
        return Path.home() / ".local" / "share"
    except RuntimeError as error:  # a user without a home, as in some containers
        raise ConfigError(
            f"this user has no home folder for the private folder of {store.address}; give a "
            "folder that stays, such as one on a mounted disk, as --private"
        ) from error


def _write_new_key(path: Path) -> None:
    """Write a new key, complete or not at all: a kill must not leave an empty file."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with open_owned(partial, "w") as file:
        file.write(_new_key())
    partial.replace(path)


def _new_key() -> str:
    return secrets.token_hex(32)
