"""What can go wrong for a user. Each text is one sentence: what was found, where, and what to do."""


class SurgrecError(Exception):
    """A problem its reader can solve. Commands print it as one line and exit with 1."""


class ConfigError(SurgrecError):
    """A setting, or two settings together, that cannot work."""


class ManifestError(SurgrecError):
    """A list of videos that cannot be built from."""


class StorageError(SurgrecError):
    """A disk or an object store that does not do what was asked. Never a bad sample."""


class MissingError(StorageError):
    """A file, object, folder or bucket that is not there."""


class CacheError(StorageError):
    """A local disk that should hold copies of a store's files, and is full or fails. Reading goes on without it."""


class ShardError(SurgrecError):
    """A corpus, shard or index that does not keep its format."""


class MixtureError(SurgrecError):
    """A mixture that does not fit the corpus, the batch or the run."""


class SampleError(SurgrecError):
    """One sample that cannot be used: wrong digest, undecodable, wrong frame count. It goes to quarantine."""


class TrainingError(SurgrecError):
    """A run that cannot go on: its loss is not a number, or too many of its samples are bad."""


class CheckpointError(SurgrecError):
    """A checkpoint that is damaged, or belongs to another run."""


class SetupError(SurgrecError):
    """Something of the machine that is missing or does not fit: ffmpeg, the world size, a package."""
