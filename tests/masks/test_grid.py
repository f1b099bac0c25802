import pytest

from surgrec.errors import ConfigError
from surgrec.masks import TubeletGrid


def test_a_clip_becomes_whole_tubelets():
    assert TubeletGrid.of_clip(16, 224, 224) == TubeletGrid(8, 14, 14)
    assert TubeletGrid.of_clip(16, 224, 224).num_tokens == 1568
    assert TubeletGrid.of_clip(64, 256, 384, tubelet_size=4, patch_size=32) == TubeletGrid(
        16, 8, 12
    )


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        ((15, 224, 224), "num_frames is 15, .* tubelet_size 2"),
        ((16, 225, 224), "crop_px \\(height\\) is 225, .* patch_size 16"),
        ((16, 224, 0), "crop_px \\(width\\) is 0, .* patch_size 16"),
    ],
)
def test_a_clip_that_is_not_whole_tubelets_is_refused(clip, message):
    with pytest.raises(ConfigError, match=message):
        TubeletGrid.of_clip(*clip)
