"""A task on held-out cases: audited before anything is computed, scored in one way for any method.

`surgrec evaluate` scores probes on frozen features through this interface. Other methods, such as
attentive probes and fine-tuning, get the same audit, windows, baselines, verdicts and files.

Example:
    >>> encoder = open_encoder(EncoderChoice(path=run), torch.device("cuda"))
    >>> choice = TaskChoice(corpora=["/data/corpus"], task="phase", split=read_split(path))
    >>> task = audit_task(choice, encoder, stride_s=1.0)
    >>> windows = task.planned_windows()
    >>> row, label = windows.train.rows[0], windows.labels_of(windows.train)[0]
    >>> row.video, row.start_s, windows.classes[label]
    ('3f0c...', 0.0, 'dissection')
    >>> windows = task.windows(decoded_rows, failed)  # without windows that could not be read
    >>> results = Results(
    ...     predictions=[Prediction(features="trained", classifier="attentive", label=predicted)],
    ...     classifiers={"attentive": "attentive probe"},
    ...     primary="attentive",
    ...     methods=["attentive probe: 4 blocks, chosen on the val cases"],
    ... )
    >>> write_results(task, windows, results, out)["scores"][0]["metrics"]["macro_f1"]
    {'value': 0.71, 'low': 0.62, 'high': 0.79}
"""

from surgrec.evaluation._audit import Check
from surgrec.evaluation._few_cases import FewCases, few_cases, require_fewer
from surgrec.evaluation._few_shot import few_shot_method, few_shot_row
from surgrec.evaluation._labeled_windows import LabeledWindows, PartWindows
from surgrec.evaluation._pixel_baseline import PixelBaseline, pixel_baseline
from surgrec.evaluation._predictions import Prediction
from surgrec.evaluation._record import Results, write_results
from surgrec.evaluation._task import AuditedTask, EvaluatedModel, TaskChoice, WindowKey, audit_task
from surgrec.evaluation._units import resampled_units
from surgrec.evaluation.pixels import pixels_choice
from surgrec.splits import read_split

__all__ = [
    "AuditedTask",
    "Check",
    "EvaluatedModel",
    "FewCases",
    "LabeledWindows",
    "PartWindows",
    "PixelBaseline",
    "Prediction",
    "Results",
    "TaskChoice",
    "WindowKey",
    "audit_task",
    "few_cases",
    "few_shot_method",
    "few_shot_row",
    "pixel_baseline",
    "pixels_choice",
    "read_split",
    "require_fewer",
    "resampled_units",
    "write_results",
]
