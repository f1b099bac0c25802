"""The console script `surgrec`: the list of its commands."""

from surgrec.cli import Command, run

_DESCRIPTION = """
SurgRec: balanced streams of surgical video, features of trained encoders, and their evaluation.

The companion command `surgrec-shard` builds corpora. The recipes train encoders: `python -m
surgrec.recipes.jepa` and `python -m surgrec.recipes.mae`.

Example:

    surgrec doctor
    surgrec evaluate /data/corpus --encoder runs/a --task phase --split split.yaml
"""

_EXIT_STATUS = """
Exit status:

    0    done
    1    refused, with one sentence on standard error; or a failed check (mix, audit)
    2    wrong command line
    3    done, but something was left out; the output says what (features, evaluate, bench)
    130  interrupted; the same command continues
"""


COMMANDS = {
    "doctor": Command(
        function="surgrec.commands.doctor:doctor",
        summary="Check this machine: programs, GPUs, limits, folders, corpora.",
        positional="corpus",
        many=True,
        is_optional=True,
    ),
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
    "cluster": Command(
        function="surgrec.commands.cluster:cluster",
        summary="Cluster the clips of a corpus by their features, for balanced mixtures.",
        positional="corpus",
    ),
    "encoders": Command(
        function="surgrec.commands.encoders:encoders",
        summary="List the encoders of other projects that are known by name.",
    ),
    "audit": Command(
        function="surgrec.commands.audit:audit",
        summary="Check an evaluation split for leaks, odd labels and its size.",
        positional="split",
        many=True,
    ),
    "evaluate": Command(
        function="surgrec.commands.evaluate:evaluate",
        summary="Score an encoder's features on held-out cases.",
        positional="corpus",
        many=True,
    ),
    "vlm": Command(
        function="surgrec.commands.vlm:vlm",
        summary="Score the answers of a vision-language model on held-out cases.",
        positional="corpus",
        many=True,
    ),
    "compare": Command(
        function="surgrec.commands.compare:compare",
        summary="Compare encoders by the results of their evaluations.",
        positional="results",
        many=True,
    ),
    "tasks": Command(
        function="surgrec.commands.tasks:tasks",
        summary="List the tasks of the benchmark, or show one in full.",
        positional="task",
        many=True,
        is_optional=True,
    ),
    "bench": Command(
        function="surgrec.commands.bench:bench",
        summary="Evaluate encoders on tasks of the benchmark, from data sets to one page.",
    ),
    "report": Command(
        function="surgrec.commands.report:report",
        summary="Write one HTML page about one or several runs.",
        positional="run_dirs",
        many=True,
    ),
    "browse": Command(
        function="surgrec.commands.browse:browse",
        summary="Show corpora, runs and evaluations in a web browser on this machine.",
        positional="address",
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
