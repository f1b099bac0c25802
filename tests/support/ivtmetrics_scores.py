"""A program that scores triplets with ivtmetrics, in an environment of its own.

`ivtmetrics_scores.py FILE.npz` reads `label`, `score` (frames by 100 triplets) and `video`, and
prints as JSON: the classes of each triplet, and AP of each component within videos.
"""

import json
import sys

import numpy as np
from ivtmetrics.recognition import Recognition

COMPONENTS = ("i", "v", "t", "iv", "it", "ivt")

if __name__ == "__main__":
    data = np.load(sys.argv[1])
    found: dict[str, object] = {}
    for in_constructor in (False, True):
        metric = Recognition(num_class=100, ignore_null=in_constructor)
        for video in np.unique(data["video"]):
            rows = data["video"] == video
            metric.update(data["label"][rows].astype(int), data["score"][rows])
            metric.video_end()
        name = "constructor" if in_constructor else "plain"
        found[name] = {part: metric.compute_video_AP(part)["mAP"] for part in COMPONENTS}
        if not in_constructor:
            found["argument"] = {
                part: metric.compute_video_AP(part, ignore_null=True)["mAP"] for part in COMPONENTS
            }
    found["triplets"] = np.asarray(metric.bank)[:, :4].tolist()
    sys.stdout.write(json.dumps(found))
