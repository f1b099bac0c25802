"""Vision-language models on the windows and splits of evaluations.

Example:
    >>> with VlmEvaluation.open(config) as evaluation:
    ...     evaluation.ask(lambda stage, done, total: None)
    ...     record, stability = evaluation.score()
"""

from surgrec.vlms._config import (
    ModelConfig,
    PromptConfig,
    ServerConfig,
    WindowConfig,
    read_class_names,
)
from surgrec.vlms._evaluation import VlmEvaluation, export_task
from surgrec.vlms._prompts import num_requests
from surgrec.vlms._task import VlmConfig
from surgrec.vlms._terminal_table import print_stability

__all__ = [
    "ModelConfig",
    "PromptConfig",
    "ServerConfig",
    "VlmConfig",
    "VlmEvaluation",
    "WindowConfig",
    "export_task",
    "num_requests",
    "print_stability",
    "read_class_names",
]
