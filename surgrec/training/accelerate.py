"""Run `accelerate launch`, and end in one sentence where accelerate ends with a traceback.

    python -m surgrec.training.accelerate launch --multi_gpu --num_processes 8 recipes/jepa.py ...

It takes the options of accelerate. On SIGTERM, accelerate with several processes ends as torchrun
does: after 30 seconds, with a traceback and status 1. With one process it ends at once, while the
process still saves. This program waits up to ten minutes for the processes, and ends with status
143: 128 and the number of the signal.
"""

from accelerate.commands.accelerate_cli import main

from surgrec.training._launcher_end import run_launcher

if __name__ == "__main__":
    run_launcher("accelerate", main)
