"""Run torchrun, and end in one sentence where torchrun ends with a traceback.

    python -m surgrec.training.torchrun --nproc_per_node 8 recipes/jepa.py ...

It takes the options of torchrun. On SIGTERM, torchrun passes the signal on to the ranks, which save
a checkpoint and leave. It kills them after 30 seconds, and ends with a traceback and status 1, as
after a failure. A rank cannot change this. This program gives the ranks ten minutes
(`--shutdown-timeout`), and ends with status 143: 128 and the number of the signal.
"""

from torch.distributed import run

from surgrec.training._launcher_end import run_launcher

if __name__ == "__main__":
    run_launcher("torchrun", run.main)
