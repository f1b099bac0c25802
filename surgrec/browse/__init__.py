"""Show corpora, runs and evaluations in a web browser on this machine. Reads only.

Needs the extra `browse`.

Example:
    >>> serve(open_subjects(["/data/corpus", "runs/a"]), 8765, print)
"""

from surgrec.browse._server import serve
from surgrec.browse._subjects import Subjects, open_subjects

__all__ = ["Subjects", "open_subjects", "serve"]
