"""Names of the steps of a benchmark, and of the files that they write."""

from surgrec_shard.preset_splits import name_of_split
from surgrec_shard.split_files import evaluation_split_name

from surgrec.bench._choice import BenchTask
from surgrec.bench._models import Model


def check_name(task: BenchTask) -> str:
    """Return the name of the check of a task's copy and split."""
    return f"check/{task.data_set}/{task.split}"


def build_name(task: BenchTask) -> str:
    """Return the name of the build of a task's corpus."""
    return f"build/{task.data_set}"


def dedup_name(task: BenchTask) -> str:
    """Return the name of the search for near-duplicates in a task's corpus."""
    return f"dedup/{task.data_set}"


def audit_name(task: BenchTask) -> str:
    """Return the name of the audit of a task."""
    return f"audit/{task.name}"


def evaluate_name(task: BenchTask, model: Model) -> str:
    """Return the name of the evaluation of a model on a task."""
    return f"evaluate/{task.name}/{model.name}"


def results_folder(task: BenchTask, model: Model) -> str:
    """Return the folder of the results of a model on a task."""
    return f"tasks/{task.name}/results/{model.name}"


def split_file(task: BenchTask) -> str:
    """Return the file of the split of a task."""
    return f"splits/{task.data_set}-{task.split}.yaml"


def corpus_folder(task: BenchTask) -> str:
    """Return the corpus of a task."""
    return f"corpora/{task.data_set}"


def dedup_file(task: BenchTask, kind: str) -> str:
    """Return the file with the near-duplicates of a task's corpus, of kind `html` or `json`."""
    return f"duplicates/{task.data_set}.{kind}"


def check_file(task: BenchTask) -> str:
    """Return the file with the result of the check of a copy."""
    return f"checks/{task.data_set}-{task.split}.json"


def fold_names(task: BenchTask) -> list[str]:
    """Return the names of the folds of a task's card, as results have them; empty without folds."""
    card = task.card
    if len(card.split.names) < 2:
        return []
    return [evaluation_split_name(card.data_set, name) for name in card.split.names]


def split_title(task: BenchTask) -> str:
    """Return the name and the origin of a split, such as `tecno (convention)` or `official`."""
    if not task.split:
        return "lists of clips"
    if task.split == task.card.split_kind:
        return task.split
    return name_of_split(task.card.data_set, task.split)
