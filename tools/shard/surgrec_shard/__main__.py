"""Run the command line: `python -m surgrec_shard`."""

from surgrec_shard.commands import main

main()
