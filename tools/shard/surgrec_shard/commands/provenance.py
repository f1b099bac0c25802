"""`surgrec-shard provenance`: one page about a corpus for an ethics board."""

import sys
from pathlib import Path

from surgrec.storage import open_store
from surgrec.terminal import escape, print_json, say
from surgrec_shard import provenance as room
from surgrec_shard.disk import writing_to


def provenance(corpus: str, *, html: Path | None = None, json: bool = False) -> None:
    """Show the origin of the videos of a corpus, and those left out, added and removed.

    Args:
        corpus: A folder, or s3://bucket/prefix.
        html: Write an HTML page to this file.
        json: Print JSON instead of Markdown.

    Example:
        surgrec-shard provenance /data/corpus --html origin.html
    """
    found = room.read_provenance(open_store(corpus))
    if html is not None:
        with writing_to(html.parent, "choose another --html"):
            html.write_text(room.as_html(found), encoding="utf-8")
        say(escape(f"page: {html}"))
    if json:
        print_json(room.as_json(found))
    elif html is None:
        sys.stdout.write(room.as_text(found))
