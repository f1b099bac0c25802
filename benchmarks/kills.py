"""Table of kills: a run of two ranks that is disturbed again and again, and how each start ends.

python -m benchmarks.kills             # 20 faults at random moments, about eight minutes
python -m benchmarks.kills 40 7        # 40 faults, seed 7
python -m benchmarks.kills 1 0 freeze  # faults with this word in their name
"""

import random
import sys
import tempfile
from pathlib import Path

from tests.support.killed_runs import FAULTS, DisturbedRun
from tests.support.videos import make_tiny_corpus

STEPS_PER_FAULT = 10


def main(words: list[str]) -> int:
    """Disturb a run, print a line per fault, finish it; return 1 if anything is wrong."""
    number, seed, word = (*words, *("20", "0", "")[len(words) :])
    # A frozen rank takes five minutes, so it is played on demand only.
    kinds = [fault for fault in FAULTS if (word in fault if word else "freeze" not in fault)]
    chance, steps = random.Random(int(seed)), STEPS_PER_FAULT * (int(number) + 1)
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        corpus = make_tiny_corpus(Path(folder, "tiny"))
        whole = DisturbedRun(corpus, Path(folder, "whole"), steps=steps)
        whole.finish()
        run = DisturbedRun(corpus, Path(folder, "run"), steps=steps, seed=int(seed))

        print("| fault | in step | saved | status | seconds | sentence |")
        print("|---|---|---|---|---|---|", flush=True)
        wrong = 0
        for index in range(int(number)):
            fault = kinds[index] if index < len(kinds) else chance.choice(kinds)
            end = run.disturb(fault, STEPS_PER_FAULT * index + chance.randrange(1, STEPS_PER_FAULT))
            wrong += bool(end.problem)
            print(
                f"| {fault} | {end.step} | {end.saved} | {end.status} | {end.seconds:.1f} | "
                f"{end.problem and 'BROKEN: '}{end.problem or end.sentence} |",
                flush=True,
            )
        run.finish()
        is_same = run.result() == whole.result()

    verdict = "the same as" if is_same else "BROKEN: not the same as"
    print(f"\n{number} faults, {wrong} broken; losses and encoder are {verdict} without faults")
    return int(wrong > 0 or not is_same)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
