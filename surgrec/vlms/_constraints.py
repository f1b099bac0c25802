"""How answers are kept to their form: by the server where it can, else by the prompt alone."""

import json
from typing import Any, Literal

from surgrec.vlms._prompts import Form, Question

Mode = Literal["structured", "json_schema", "json_object", "text"]
"""Constraint of an answer.

structured: `structured_outputs` of vLLM, or tokens masked in this process; json_schema and
json_object: `response_format`; text: none.
"""
MODES: tuple[Mode, ...] = ("structured", "json_schema", "json_object", "text")
"""All constraints, the strictest first."""

Trials = dict[str, str]
"""How the trial of each constraint ended, by its mode."""

TRIAL = "Write the word hello and nothing else. Do not write JSON."
"""A prompt whose answer keeps to a form only if the server enforces it."""


def form_of(mode: Mode, several: bool) -> Form:
    """Return the form of answers that a prompt asks for."""
    if several:
        return "json"
    forms: dict[Mode, Form] = {"structured": "code", "text": "line"}
    return forms.get(mode, "json")


def schema_of(asked: Question) -> dict[str, Any]:
    """Return the JSON schema of an answer."""
    if asked.several:
        properties: dict[str, Any] = {name: {"type": "boolean"} for name in asked.shown}
    else:
        properties = {"answer": {"type": "string", "enum": list(asked.codes)}}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def request_fields(mode: Mode, asked: Question) -> dict[str, Any]:
    """Return the fields of a request that constrain its answer."""
    schema = schema_of(asked)
    if mode == "structured":
        constraint = {"json": schema} if asked.several else {"choice": list(asked.codes)}
        return {"structured_outputs": constraint}
    if mode == "json_schema":
        named = {"name": "answer", "strict": True, "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    return {"response_format": {"type": "json_object"}} if mode == "json_object" else {}


def is_enforced(mode: Mode, asked: Question, text: str) -> bool:
    """Return whether an answer to `TRIAL` has the form, which only a constraint explains."""
    if mode == "text":
        return True
    if mode == "structured" and not asked.several:
        return text.strip() in asked.codes
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return False
    keys = set(asked.shown) if asked.several else {"answer"}
    return isinstance(content, dict) and (mode == "json_object" or set(content) == keys)


def most_tokens(asked: Question) -> int:
    """Return a bound on the tokens of an answer in its form."""
    if asked.several:
        return 32 + sum(8 + len(name.encode()) for name in asked.shown)
    return 32
