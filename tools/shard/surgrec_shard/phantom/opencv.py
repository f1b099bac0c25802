"""The one import of OpenCV, an optional extra: without it the first use says what to install."""

from surgrec.errors import SetupError

try:
    import cv2
except ImportError as error:
    raise SetupError("the phantom corpus needs OpenCV: pip install 'surgrec[demo]'") from error

__all__ = ["cv2"]
