"""Table of faults: each fault of a reading run, and its outcome.

It needs the extra `demo` (a real S3 server).

python -m benchmarks.faults            # all faults, about six minutes
python -m benchmarks.faults cache      # faults with this word in their name
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.faults.scenarios import SCENARIOS, play_scenario
from tests.faults.site import fresh, run_site, undisturbed
from tests.support.videos import make_tiny_corpus


def main(words: list[str]) -> int:
    """Play the scenarios one after the other and print a line each; return 1 if one is broken."""
    chosen = [scenario for scenario in SCENARIOS if all(word in scenario.name for word in words)]
    endings = []
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        corpus = make_tiny_corpus(Path(folder, "tiny"))
        expected = undisturbed(corpus, Path(folder, "undisturbed"))
        Path(folder, "site").mkdir()

        with run_site(Path(folder, "site"), corpus) as site:
            print("| fault | ended in | seconds | message |\n|---|---|---|---|")
            for scenario in chosen:
                ending = play_scenario(scenario, fresh(site, scenario.name), expected)
                endings.append(ending)
                message = ending.message.replace(site.address, "s3://bucket").replace(folder, "")
                print(
                    f"| {scenario.name} | {ending.verdict} | {ending.seconds:.1f} | {message} |",
                    flush=True,
                )

    counts = Counter(ending.verdict for ending in endings)
    print(
        f"\n{len(endings)} tried: {counts['same stream']} survived with the same stream, "
        f"{counts['refused']} refused in one sentence, {counts['BROKEN']} broken, "
        f"{counts['not tried']} not tried on this machine"
    )
    return int(counts["BROKEN"] > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
