"""Run the command line: `python -m surgrec`."""

from surgrec.commands.main import main

main()
