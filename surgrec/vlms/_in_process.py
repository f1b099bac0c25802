"""A model in this process: a local folder in the format of transformers."""

import hashlib
import io
import json
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch
from PIL import Image

from surgrec.errors import ConfigError, SetupError, how_to_install, reason
from surgrec.storage import file_sha256
from surgrec.text import one_line
from surgrec.vlms._constraints import Mode, Trials
from surgrec.vlms._model import Answer, Prompt
from surgrec.vlms._prompts import Question
from surgrec.vlms._token_constraint import TokenConstraint, segments_of

_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")
"""Files that decide the answers of a model."""
_CHARACTERS = 300


class InProcessModel:
    """A model from a local folder. Nothing is downloaded, and no code of the folder is run.

    Args:
        name: Name of the model in tables.
        folder: The folder, with its weights as safetensors.
        device: Device of the model; auto uses a GPU if there is one.

    Raises:
        ConfigError: The folder holds no model of images and text.
        SetupError: transformers is not installed.
    """

    parallel = 1

    def __init__(
        self, name: str, folder: Path, device: Literal["auto", "cpu", "cuda"] = "auto"
    ) -> None:
        self._name, self._folder = name, folder
        is_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
        self._device = torch.device("cuda" if is_gpu else "cpu")

        if not (folder / "config.json").is_file():
            raise ConfigError(
                f"{folder} holds no config.json; give the local folder of a model in the format of "
                "transformers as --transformers"
            )

        # No code of the folder is executed, and nothing is downloaded.
        transformers = _transformers()
        options = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._processor = transformers.AutoProcessor.from_pretrained(folder, **options)
            self._network = transformers.AutoModelForImageTextToText.from_pretrained(
                folder,
                use_safetensors=True,
                dtype=torch.bfloat16 if is_gpu else torch.float32,
                **options,
            )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise ConfigError(
                f"{folder} cannot be opened as a model of images and text "
                f"({one_line(reason(error), _CHARACTERS)}); give a folder that "
                "AutoModelForImageTextToText of transformers opens without other code"
            ) from None
        self._network.to(self._device).eval()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The name of the model and a digest of its files."""
        files = {path for pattern in _FILES for path in self._folder.glob(pattern)}
        digests = {path.name: file_sha256(path) for path in sorted(files)}
        text = json.dumps(digests, sort_keys=True).encode("utf-8")
        return {"name": self._name, "sha256": hashlib.sha256(text).hexdigest()}

    @property
    def place(self) -> str:
        """Nothing: it is in this process."""
        return ""

    def choose_mode(self, asked: Question) -> tuple[Mode, Trials]:
        """Return `structured`: tokens are restricted here."""
        return "structured", {}

    @torch.inference_mode()
    def answer(self, prompt: Prompt) -> Answer:
        """Return the most probable answer, token by token."""
        content = [_content(part) for part in prompt.parts]
        inputs = self._processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self._device, dtype=self._network.dtype)
        asked_tokens = inputs["input_ids"].shape[1]

        constraint = self._constraint(prompt)
        most = prompt.max_tokens
        restrict = None
        if constraint is not None:
            most = constraint.longest

            def restrict(_: int, tokens: torch.Tensor) -> list[int]:
                return constraint.allowed(tokens[asked_tokens:].tolist())

        tokens = self._network.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            max_new_tokens=most,
            prefix_allowed_tokens_fn=restrict,
        )[0, asked_tokens:].tolist()
        is_whole = bool(tokens) and tokens[-1] in self._ends
        text = self._processor.decode(tokens, skip_special_tokens=True)
        return Answer(text=text, finish="stop" if is_whole else "length")

    def stop(self) -> None:
        """Do nothing: an answer that is computed ends by itself."""

    def close(self) -> None:
        """Give up the memory of the model."""
        del self._network, self._processor

    def _constraint(self, prompt: Prompt) -> TokenConstraint | None:
        if prompt.mode != "structured":
            return None
        tokenizer = self._processor.tokenizer

        def encode(text: str) -> list[int]:
            return list(tokenizer.encode(text, add_special_tokens=False))

        return TokenConstraint(segments_of(prompt.asked), encode, self._ends)

    @cached_property
    def _ends(self) -> list[int]:
        """Tokens that end an answer."""
        ends = self._network.generation_config.eos_token_id
        if ends is None:
            ends = self._processor.tokenizer.eos_token_id
        return [ends] if isinstance(ends, int) else list(ends)


def _content(part: str | bytes) -> dict[str, Any]:
    """Return a part of a prompt as chat templates take it."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image", "image": Image.open(io.BytesIO(part)).convert("RGB")}


def _transformers() -> ModuleType:
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise SetupError(f"{error.name} is not installed; {how_to_install('hf')}") from None
    module: ModuleType = transformers
    return module
