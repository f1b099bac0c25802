"""Convert weights from and to other projects' formats: V-JEPA, VideoMAE, Hugging Face, timm, SurgRec."""

from surgrec.convert._checkpoint_file import checkpoint_sha256
from surgrec.convert._export_weights import export_weights
from surgrec.convert._import_weights import describe_import, import_weights
from surgrec.convert._pretrained import Component, ImportOptions, Origin, Pretrained
from surgrec.convert._read_external import ImportFormat, read_external
from surgrec.convert._shapes import is_published_size
from surgrec.convert.native import load_pretrained

__all__ = [
    "Component",
    "ImportFormat",
    "ImportOptions",
    "Origin",
    "Pretrained",
    "checkpoint_sha256",
    "describe_import",
    "export_weights",
    "import_weights",
    "is_published_size",
    "load_pretrained",
    "read_external",
]
