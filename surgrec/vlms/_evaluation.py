"""An evaluation of a vision-language model from its options to its files."""

from pathlib import Path
from typing import Any

from surgrec.errors import ConfigError
from surgrec.vlms._client import EndpointModel
from surgrec.vlms._constraints import Mode
from surgrec.vlms._export import Harness, export_windows
from surgrec.vlms._job import ModelRecord, Progress, ask_all, read_model, require_same_model
from surgrec.vlms._model import Model
from surgrec.vlms._readings import read_answers
from surgrec.vlms._results import write_answers
from surgrec.vlms._task import VlmConfig, VlmTask


class VlmEvaluation:
    """An evaluation whose task passed its audit.

    Example:
        >>> with VlmEvaluation.open(config) as evaluation:
        ...     evaluation.ask(lambda stage, done, total: None)
        ...     record, stability = evaluation.score()
    """

    def __init__(self, config: VlmConfig, model: Model | None, identity: dict[str, Any]) -> None:
        self._config, self._model = config, model
        self._task = VlmTask(config, identity)

    @classmethod
    def open(cls, config: VlmConfig, *, stored: bool = False) -> "VlmEvaluation":
        """Check the model and audit the task, before anything is asked.

        Args:
            config: The evaluation.
            stored: Score the stored answers alone; no model is opened and none is asked.

        Raises:
            SurgrecError: An input is missing, the host is not allowed, the audit refuses the task,
                or the folder holds answers of another model.
        """
        if stored:
            return cls(config, None, dict(_stored_model(config)["identity"]))
        model = _open_model(config)
        require_same_model(config.out, dict(model.identity))
        return cls(config, model, dict(model.identity))

    @property
    def destination(self) -> str:
        """Where images go, in words."""
        server = self._config.model.server
        if server is None:
            return "the model in this process"
        if isinstance(self._model, EndpointModel) and self._model.destination.is_local:
            return f"{server.endpoint} (this machine)"
        return f"{server.endpoint} (another host, which --allow_hosts names)"

    def ask(self, progress: Progress) -> None:
        """Ask all prompts that have no answer yet.

        Args:
            progress: Takes a stage, the number of windows that are done, and their total.

        Raises:
            SurgrecError: The model cannot answer, or a store cannot be read.
        """
        if self._model is None:
            raise ConfigError("stored answers are scored without a model; leave out --rescore")
        ask_all(self._task, self._model, progress)

    def score(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Score the stored answers, and write all files.

        Returns:
            The contents of `evaluation.json` and of `vlm.json`.

        Raises:
            ConfigError: Answers are missing.
        """
        record = _stored_model(self._config)
        mode: Mode = record["mode"]  # type: ignore[assignment]
        return write_answers(self._task, read_answers(self._task, mode), record)

    def __enter__(self) -> "VlmEvaluation":
        return self

    def __exit__(self, *_: object) -> None:
        if self._model is not None:
            self._model.close()


def export_task(config: VlmConfig, harness: Harness, progress: Progress) -> tuple[Path, int]:
    """Audit a task, and write its test windows for another harness. No model is asked.

    Args:
        config: The evaluation; its model is not used.
        harness: The harness.
        progress: Takes a stage, the number of windows that are done, and their total.

    Returns:
        The folder, and the number of windows whose frames cannot be read and that are left out.

    Raises:
        SurgrecError: An input is missing, the audit refuses the task, or a file cannot be written.
    """
    return export_windows(VlmTask(config, {}), harness, progress)


def _open_model(config: VlmConfig) -> Model:
    model = config.model
    if model.server is not None:
        return EndpointModel(model.name, model.server)
    from surgrec.vlms._in_process import InProcessModel

    assert model.folder is not None  # `ModelConfig` checked it
    return InProcessModel(model.name, model.folder, model.device)


def _stored_model(config: VlmConfig) -> ModelRecord:
    record = read_model(config.out)
    if record is None:
        raise ConfigError(f"{config.out} has no answers yet; run without --rescore first")
    return record
