"""Convert weights from and to other projects' formats.

Formats: V-JEPA 1, 2 and 2.1; VideoMAE v1 and v2; Hugging Face's VJEPA2Model and VideoMAE; timm's
VisionTransformer; the SurgRec release. Each has one converter, listed in `_formats.py`.
"""

from surgrec.convert._check_networks import check_networks
from surgrec.convert._checkpoint_file import checkpoint_sha256, read_checkpoint_file
from surgrec.convert._export_weights import export_weights
from surgrec.convert._formats import ImportFormat
from surgrec.convert._import_weights import describe_import, import_weights
from surgrec.convert._pretrained import Component, ImportOptions, Origin, Pretrained
from surgrec.convert._read_external import read_external
from surgrec.convert._shapes import is_published_size
from surgrec.convert.native import load_pretrained

__all__ = [
    "Component",
    "ImportFormat",
    "ImportOptions",
    "Origin",
    "Pretrained",
    "check_networks",
    "checkpoint_sha256",
    "describe_import",
    "export_weights",
    "import_weights",
    "is_published_size",
    "load_pretrained",
    "read_checkpoint_file",
    "read_external",
]
