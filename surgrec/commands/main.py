"""The console script `surgrec`: the list of its commands."""

from surgrec.cli import Command, run

_DESCRIPTION = """
SurgRec: balanced streams of surgical video, features of trained encoders, and their evaluation.

The companion command `surgrec-shard` builds corpora. The recipes `recipes/jepa.py` and
`recipes/mae.py` train encoders.
"""

_EXIT_STATUS = """
Exit status:

    0    done
    1    refused, with one sentence on standard error; or a failed check (mix)
    2    wrong command line
    3    done, but some windows were left out; the output says how many (features, evaluate)
    130  interrupted; the same command continues
"""


COMMANDS = {
    "mix": Command(
        function="surgrec.commands.mix:mix",
        summary="Show how much a run draws of each source and domain.",
        positional="corpus",
        many=True,
    ),
    "order": Command(
        function="surgrec.commands.order:order",
        summary="Print the samples that a rank trains on.",
        positional="corpus",
        many=True,
    ),
    "plan": Command(
        function="surgrec.commands.plan:plan",
        summary="Show the memory, time and host that a run needs, and the options to fit.",
        takes_words=True,
    ),
    "features": Command(
        function="surgrec.commands.features:features",
        summary="Extract features of all videos of corpora, or of a folder of videos.",
        positional="data",
        many=True,
    ),
    "encoders": Command(
        function="surgrec.commands.encoders:encoders",
        summary="List the encoders of other projects that are known by name.",
    ),
    "evaluate": Command(
        function="surgrec.commands.evaluate:evaluate",
        summary="Score an encoder's features on held-out cases.",
        positional="corpus",
        many=True,
    ),
    "report": Command(
        function="surgrec.commands.report:report",
        summary="Write one HTML page about one or several runs.",
        positional="run_dirs",
        many=True,
    ),
    "export": Command(
        function="surgrec.commands.export:export",
        summary="Write an encoder in another project's format.",
        positional="run",
    ),
    "import": Command(
        function="surgrec.commands.import_weights:import_weights",
        summary="Convert a published checkpoint to an encoder file.",
        positional="path",
    ),
}


def main() -> None:
    """Run `surgrec`."""
    run("surgrec", COMMANDS, description=_DESCRIPTION, epilog=_EXIT_STATUS)
