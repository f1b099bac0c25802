"""The table of formats: every entry is a name in Python's types and on the command line."""

from typing import get_args

import pytest

from surgrec.convert import export_weights
from surgrec.convert._formats import FORMATS, Format
from surgrec.models import Decoder, DecoderConfig, Encoder, EncoderConfig
from tests.support.weight_layouts import surgrec, weights_of


def test_the_table_and_the_types_name_the_same_formats() -> None:
    assert set(get_args(Format)) == set(FORMATS)


@pytest.mark.parametrize("verb", ["import", "export"])
def test_the_command_line_offers_every_format(monkeypatch, capsys, verb):
    monkeypatch.setenv("COLUMNS", "400")
    assert surgrec(monkeypatch, verb, "--help") == 0
    choices = capsys.readouterr().out.partition("--format {")[2].partition("}")[0].split(",")
    assert set(choices) - {"auto"} == set(FORMATS)


@pytest.mark.parametrize("format_name", ["hf", "vjepa"])
def test_an_export_reports_only_the_networks_that_it_wrote(tmp_path, format_name):
    config = EncoderConfig(width=48, depth=1, num_heads=2, num_frames=4, crop_px=32)
    decoder = Decoder(DecoderConfig(width=36, depth=1, num_heads=3), config)
    weights = weights_of(Encoder(config), decoder=decoder)
    written = export_weights(weights, format_name, tmp_path / "out", {}, None, with_decoder=True)
    assert written == "encoder", "neither format stores a decoder with rotary positions"
