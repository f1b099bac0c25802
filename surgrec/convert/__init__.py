"""Convert weights from and to other projects' formats: V-JEPA, VideoMAE, Hugging Face, timm, SurgRec."""

from surgrec.convert.checkpoint_file import read_container
from surgrec.convert.detect import FormatOption, read_foreign
from surgrec.convert.export import export_weights
from surgrec.convert.import_weights import described, import_weights
from surgrec.convert.native import load_pretrained
from surgrec.convert.pretrained import ImportOptions, Origin, Part, Pretrained
from surgrec.convert.shapes import is_published

__all__ = [
    "FormatOption",
    "ImportOptions",
    "Origin",
    "Part",
    "Pretrained",
    "described",
    "export_weights",
    "import_weights",
    "is_published",
    "load_pretrained",
    "read_container",
    "read_foreign",
]
