"""The only import of OpenCV, an optional extra. Without it, the first use names the package."""

from surgrec.errors import SetupError, how_to_install

try:
    import cv2
except ImportError as error:
    raise SetupError(f"the phantom corpus needs OpenCV: {how_to_install('demo')}") from error

__all__ = ["cv2"]
