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
import socket
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypedDict

from msgspec import Meta

from surgrec.errors import ConfigError, ShardError, StorageError
from surgrec.json_files import decode_json
from surgrec.recordings import Recording
from surgrec.shards import CorpusFile
from surgrec.storage import Store, make_owned_folder, open_owned
from surgrec.storage.lock import FolderLock, hold, try_hold
from surgrec.terminal import escape, warn
from surgrec_shard.disk import MOVE_PRIVATE, writing_to

_KEY_FILE, _HASHES_FILE = "key", "hashes.jsonl"
_PART_HASHES, _PART_LOCK = "hashes-of-part-", "lock-of-part-"
_READ_AGAIN_S = 30.0
"""How long a part of a build uses the digests that it has read, while others write some."""
_KEY = re.compile("[0-9a-f]{64}")
_FACTS_OF_FILE = 4
"""Numbers behind the path of a file in a row of `hashes.jsonl`."""
_WAIT = "wait until it is done, then run this one again"


class _HashRow(TypedDict):
    """The digest of a file, as a row of `hashes.jsonl`."""

    file: str
    """See `state_of`."""
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
        self._log, self._read_at = _HASHES_FILE, 0.0
        self._digests = self._read_digests()

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

    def digests_of(self, path: Path) -> dict[str, str]:
        """Return the known SHA-256 of the file at a path, by its state (see `state_of`).

        Hashing a large corpus takes hours, so digests are kept.
        """
        if self._log != _HASHES_FILE and time.monotonic() - self._read_at > _READ_AGAIN_S:
            self._digests = self._read_digests()
        return dict(self._digests.get(str(path.resolve()), {}))

    def remember(self, state: str, sha256: str) -> None:
        """Keep the SHA-256 of a file in a state.

        Raises:
            StorageError: The folder cannot be written.
        """
        known = self._digests.setdefault(_path_of(state), {})
        if state in known:
            return
        known[state] = sha256
        line = json.dumps({"file": state, "sha256": sha256})
        with (
            writing_to(self.path, MOVE_PRIVATE),
            open_owned(self.path / self._log, "a") as log,
        ):
            log.write(line + "\n")

    def files_of(self, names: Collection[str]) -> set[str]:
        """Return the paths of all files that had these names in a corpus."""
        return {
            path
            for path, digests in self._digests.items()
            for sha256 in digests.values()
            if self.video_name(sha256) in names or sha256[:12] in names
        }

    def forget(self, names: Collection[str], paths: Collection[str]) -> None:
        """Remove the digests of videos, by their names in a corpus or their paths."""
        resolved = {str(Path(path).resolve()) for path in paths} | self.files_of(names)
        kept = {path: found for path, found in self._digests.items() if path not in resolved}

        path = self.path / _HASHES_FILE
        partial = path.with_suffix(".partial")
        with writing_to(self.path, MOVE_PRIVATE):
            with open_owned(partial, "w") as log:
                for state, sha256 in (row for found in kept.values() for row in found.items()):
                    log.write(json.dumps({"file": state, "sha256": sha256}) + "\n")
            partial.replace(path)
            for log_of_part in self._logs():
                if log_of_part != path:
                    log_of_part.unlink()

        self._digests = kept

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
        """Lock the folder for one build, and read what others have written into it.

        Raises:
            ConfigError: Another build has locked it, or a part of a build runs.
        """
        lock = hold(self.path, doing="building", remedy=_WAIT)

        # Parts of an earlier build have ended if their locks are free.
        try:
            for path in self._locks_of_parts():
                ended = try_hold(self.path, name=path.name)
                if ended is None:
                    raise ConfigError(
                        f"a part of a build is running in {self.path} ({path.name}); {_WAIT}"
                    )
                path.unlink(missing_ok=True)
                ended.release()

            self._digests = self._read_digests()
            if [*self._logs()] != [self.path / _HASHES_FILE]:
                self.forget((), ())
        except BaseException:
            lock.release()
            raise
        return lock

    @contextmanager
    def lock_for_part(self) -> Iterator[None]:
        """Lock the folder for a part of a build. Other parts may run, but nothing else.

        Raises:
            ConfigError: Another build has locked it.
        """
        mark = f"{socket.gethostname()}-{uuid.uuid4().hex[:12]}"
        name = f"{_PART_LOCK}{mark}"
        with hold(self.path, doing="building", remedy=_WAIT):
            mine = try_hold(self.path, name=name)
        # Two machines cannot append to one file of a network share.
        self._log = f"{_PART_HASHES}{mark}.jsonl"
        try:
            yield
        finally:
            (self.path / name).unlink(missing_ok=True)
            if mine is not None:
                mine.release()

    def _logs(self) -> list[Path]:
        """Return the files of digests: the common one, and one for each part of a build."""
        return [self.path / _HASHES_FILE, *sorted(self.path.glob(f"{_PART_HASHES}*.jsonl"))]

    def _locks_of_parts(self) -> list[Path]:
        locks = self.path.glob(f"{_PART_LOCK}*")
        return sorted(path for path in locks if ".owner" not in path.name)

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

    def _read_digests(self) -> dict[str, dict[str, str]]:
        """Return the known digests by path and state. Damaged lines are left out."""
        digests: dict[str, dict[str, str]] = {}
        damaged = 0
        self._read_at = time.monotonic()
        for path in self._logs():
            lines: list[str] = []
            with contextlib.suppress(FileNotFoundError), open_owned(path, "r") as log:
                lines = log.readlines()
            if path.name != _HASHES_FILE and lines and not lines[-1].endswith("\n"):
                lines.pop()  # its part is writing it
            for line in lines:
                try:
                    row = decode_json(
                        line, _HashRow, "", error=StorageError, remedy="", file_names=True
                    )
                    state = row["file"]
                    digests.setdefault(_path_of(state), {})[state] = row["sha256"]
                except StorageError:
                    damaged += 1

        if damaged:
            warn(
                f"{escape(str(self.path / _HASHES_FILE))} has {damaged} "
                "damaged lines; their videos are hashed again"
            )

        return digests


def state_of(recording: Recording) -> str:
    """Return the path, size, times of modification and change, and inode of a recording's file.

    A file with an equal text has not changed.
    """
    state = recording.identity
    times = f"{state.mtime_ns}|{state.ctime_ns}"
    return f"{recording.path.resolve()}|{state.size}|{times}|{state.inode}"


def _path_of(state: str) -> str:
    """Return the path in the state of a file. A path may contain `|` itself."""
    return state.rsplit("|", _FACTS_OF_FILE)[0]


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
