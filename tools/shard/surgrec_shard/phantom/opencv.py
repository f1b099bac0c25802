"""The only import of OpenCV, an optional extra. Without it, the first use names the package."""

from surgrec.errors import SetupError

try:
    import cv2
except ImportError as error:
    raise SetupError(
        "the phantom corpus needs OpenCV: run pip install '.[demo]' in a clone of SurgRec"
    ) from error

__all__ = ["cv2"]
