"""The errors that a user can solve.

Each message is one sentence: the finding, its place and the remedy.

    SurgrecError
    ├── ConfigError            a setting, or a combination of settings, cannot work
    ├── ManifestError          a list of videos cannot be built
    ├── StorageError           a disk or an object store fails
    │   ├── MissingError       a file, object, folder or bucket does not exist
    │   └── CacheError         the disk of a cache is full or fails; reading continues without it
    ├── ShardError             a corpus, shard or index breaks the format
    ├── MixtureError           a mixture does not fit the corpus, the batch or the run
    ├── SampleError            one sample is unusable; it goes to quarantine
    ├── TrainingError          a run cannot continue
    ├── CheckpointError        a checkpoint is damaged or belongs to another run
    ├── SetupError             the machine lacks something
    ├── ServerError            a server of a model fails or refuses
    └── MachineError           the machine runs out of something while it works

Any other exception is a bug.
"""

_LACK_OF_MEMORY = (
    "can't allocate memory",
    "bad_alloc",
    "out of memory",
    "not enough memory",
    "alloc_failed",
)
"""Words of torch, CUDA, FFmpeg and the C++ library, in lower case."""


class SurgrecError(Exception):
    """A problem that the user can solve. Commands print it as one line and exit with status 1."""


class ConfigError(SurgrecError):
    """A setting, or a combination of settings, that cannot work."""


class ManifestError(SurgrecError):
    """A list of videos from which no corpus can be built."""


class StorageError(SurgrecError):
    """A failure of a disk or an object store. It is never taken for a bad sample."""


class MissingError(StorageError):
    """A file, object, folder or bucket that does not exist."""


class CacheError(StorageError):
    """A full or failing local disk that should cache a store's files.

    Reading continues without the cache.
    """


class ShardError(SurgrecError):
    """A corpus, shard or index that breaks the shard format."""


class MixtureError(SurgrecError):
    """A mixture that does not fit the corpus, the batch or the run."""


class SampleError(SurgrecError):
    """One unusable sample: wrong digest, undecodable, wrong number of frames.

    It goes to quarantine.
    """


class TrainingError(SurgrecError):
    """A run that cannot continue: its loss is not a number, or too many of its samples are bad."""


class CheckpointError(SurgrecError):
    """A checkpoint that is damaged or belongs to another run."""


class SetupError(SurgrecError):
    """A missing or unfit part of the machine: ffmpeg, a package, the number of processes."""


class ServerError(SurgrecError):
    """A server of a model that fails, refuses a request, or cannot be reached."""


class MachineError(SurgrecError):
    """A machine that runs out of memory, threads or open files. It is never a bad sample."""


def is_lack_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, of this machine or of its GPU."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or any(part in words for part in _LACK_OF_MEMORY)


def reason(error: BaseException) -> str:
    """Return the text of an error on one line, without the errno and the path of an OSError."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return " ".join(text.split()) or type(error).__name__


def how_to_install(extra: str) -> str:
    """Return the end of a sentence about a package that an extra of SurgRec brings."""
    return (
        f"run pip install '.[{extra}]' in a clone of SurgRec, or install SurgRec's wheel with the "
        f"extra [{extra}]"
    )


def shown(value: object) -> str:
    """Return a plain value as a message shows it, cut after some characters."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    return cut(repr(value))


def cut(text: str, at_most: int = 80) -> str:
    """Return a text, cut after some characters."""
    return text if len(text) <= at_most else f"{text[:at_most]}..."
