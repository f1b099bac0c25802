"""Facts of encoders as data, without torch: their preprocessing."""

from surgrec.encoders._preprocessing import Preprocessing

__all__ = ["Preprocessing"]
