"""Pages in a real browser, if one is installed."""

import json
import shutil
import subprocess
from pathlib import Path

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


def open_in_browser(page: Path, folder: Path, *, width_px: int = 1240) -> tuple[list[str], str]:
    """Return the requests of a page and the messages on its console. Nothing leaves the machine.

    A picture of the page is in `folder/page.png`.
    """
    folder.mkdir()
    log = folder / "net.json"
    done = subprocess.run(
        [
            str(CHROMIUM),
            *(
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-sync",
            ),
            *(
                "--disable-background-networking",
                "--disable-component-update",
                "--host-resolver-rules=MAP * ~NOTFOUND",
            ),
            *(
                f"--user-data-dir={folder / 'profile'}",
                "--enable-logging=stderr",
                f"--log-net-log={log}",
                f"--window-size={width_px},1600",
                "--hide-scrollbars",
            ),
            *(f"--screenshot={folder / 'page.png'}", page.as_uri()),
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (folder / "page.png").stat().st_size > 0, "the page was drawn"
    content = json.loads(log.read_text(encoding="utf-8"))
    start = content["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    started = [event.get("params", {}) for event in content["events"] if event["type"] == start]
    # The browser also requests its own updates, without an origin.
    requests = [
        each["url"] for each in started if "url" in each and each["initiator"] != "not an origin"
    ]
    return requests, "\n".join(line for line in done.stderr.splitlines() if ":CONSOLE" in line)
