"""JSON files of one corpus in a private folder that several corpora may share."""

import hashlib
from pathlib import Path

from surgrec.errors import StorageError
from surgrec.json_files import decode_json
from surgrec.shards.layout import CORPUS_FILE
from surgrec.storage import Store, make_owned_folder, open_owned
from surgrec_shard.disk import MOVE_PRIVATE, writing_to

_REMEDY = "remove it, and run the same command again"


class CorpusFiles:
    """The files of a corpus in a folder: their names end with its mark.

    Each contains an object with the address of its corpus as `corpus`.

    Args:
        folder: The folder. It is created if it does not exist.
        store: The corpus root.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.address = folder, store.address
        self._mark = _mark(store.address)
        make_owned_folder(folder)

    def own(self, name: str) -> Path:
        """Return the path of a file of this corpus, which may not exist."""
        return self.folder / f"{name}-{self._mark}.json"

    def find(self, name: str) -> Path:
        """Return the path of a file, which may not exist.

        If this corpus has none, it is that of another corpus, which this one may be a copy of.
        """
        own = self.own(name)
        others = [] if own.exists() else self.named(name)
        return others[0] if others else own

    def named(self, name: str) -> list[Path]:
        """Return the files with this name, whatever the corpus."""
        return sorted(self.folder.glob(f"{name}-*.json"))

    def files(self) -> list[Path]:
        """Return the files of this corpus, and unfinished ones.

        Raises:
            StorageError: A file is damaged.
        """
        return sorted({*self.folder.iterdir()} - self.of_others().keys())

    def of_others(self) -> dict[Path, str]:
        """Return the files and the addresses of other corpora, which may be out of reach.

        Raises:
            StorageError: A file is damaged.
        """
        addresses = {
            path: _address_in(path)
            for path in self.folder.glob("*.json")
            if not path.stem.endswith(f"-{self._mark}")
        }
        return {
            path: address
            for path, address in addresses.items()
            if address not in ("", self.address)
        }

    def take_over(self, source: str, address: str) -> None:
        """Take over the files of a source of a corpus that was moved here from an address."""
        with writing_to(self.folder, MOVE_PRIVATE):
            for path in self.folder.glob(f"{source}-*-{_mark(address)}.json"):
                own = self.own(path.stem.rpartition("-")[0])
                if own.exists():
                    path.unlink()
                else:
                    path.rename(own)


def may_exist(address: str) -> bool:
    """Return whether a corpus may be at an address. Object stores are not asked."""
    return "://" in address or (Path(address) / CORPUS_FILE).exists()


def _mark(address: str) -> str:
    return hashlib.sha256(address.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _address_in(path: Path) -> str:
    with open_owned(path, "r") as file:
        content = decode_json(
            file.read(), dict, str(path), error=StorageError, remedy=_REMEDY, file_names=True
        )
    return str(content.get("corpus", ""))
