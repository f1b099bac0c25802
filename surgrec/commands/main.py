"""The console script `surgrec`: the list of its commands."""

from surgrec.cli import Command, run
from surgrec.commands.evaluate import evaluate
from surgrec.commands.export import export
from surgrec.commands.features import features
from surgrec.commands.import_weights import import_weights
from surgrec.commands.mix import mix
from surgrec.commands.order import order
from surgrec.commands.report import report

_DESCRIPTION = """
SurgRec: balanced streams of surgical video, features of trained encoders, and their evaluation.

The companion command `surgrec-shard` builds corpora. The recipes `recipes/jepa.py` and
`recipes/mae.py` train encoders.
"""

_EXIT_STATUS = """
Exit status:

    0    done
    1    refused, with one sentence on standard error; or the answer is no (mix)
    2    wrong command line
    3    done, but something had to be left out; the output names it
    130  interrupted; the same command continues
"""


def main() -> None:
    """Run `surgrec`."""
    commands = {
        "mix": Command(function=mix, positional="corpus", many=True),
        "order": Command(function=order, positional="corpus", many=True),
        "features": Command(function=features, positional="data", many=True),
        "evaluate": Command(function=evaluate, positional="corpus", many=True),
        "report": Command(function=report, positional="run_dirs", many=True),
        "export": Command(function=export, positional="run"),
        "import": Command(function=import_weights, positional="path"),
    }
    run("surgrec", commands, description=_DESCRIPTION, epilog=_EXIT_STATUS)
