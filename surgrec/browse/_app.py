"""The addresses of the server, and the answer of each."""

from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from surgrec.browse._answers import NotFoundError, answer, page_failure
from surgrec.browse._clip_table import Query
from surgrec.browse._filters import read_filters
from surgrec.browse._guard import Guard
from surgrec.browse._media import video_answer
from surgrec.browse._mixtures import plan_mixture
from surgrec.browse._run_report import report_answer
from surgrec.browse._subjects import Subjects
from surgrec.errors import ConfigError
from surgrec.page_style import PAGE_STYLE

_STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_PAGE = "index.html"
_MOST_NUMBER = 10**18


def create_app(subjects: Subjects, token: str, port: int) -> ASGIApp:
    """Return the application, behind its guard.

    Args:
        subjects: What is shown.
        token: The secret that a first visit must name.
        port: Port of the server.
    """
    files = {path.name: path.read_bytes() for path in _STATIC.iterdir()}
    files["style.css"] = PAGE_STYLE.encode() + files["style.css"]

    def static(request: Request) -> Response:
        name = request.path_params.get("name", _PAGE)
        if name not in files:
            return PlainTextResponse("there is no such file\n", 404)
        return Response(files[name], media_type=_TYPES[Path(name).suffix])

    routes: list[BaseRoute] = [
        Route("/", static),
        Route("/static/{name}", static),
    ]
    for path, function in (
        ("/api/subjects", _list),
        ("/api/corpora/{corpus:int}", _corpus),
        ("/api/corpora/{corpus:int}/clips", _clips),
        ("/api/corpora/{corpus:int}/clips/{clip:int}", _clip),
        ("/api/corpora/{corpus:int}/clips/{clip:int}/video", _video),
        ("/api/corpora/{corpus:int}/dropped", _dropped),
        ("/api/mixture", _mixture),
        ("/api/runs/{run:int}", _run),
        ("/api/runs/{run:int}/curves", _curves),
        ("/api/evaluations/{evaluation:int}", _evaluation),
        ("/api/evaluations/{evaluation:int}/case", _case),
    ):
        routes.append(Route(path, answer(partial(function, subjects))))
    report = answer(partial(_report, subjects), page_failure)
    routes.append(Route("/runs/{run:int}/report", report))
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refused})
    return Guard(app, token, port)


def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    return PlainTextResponse("there is no such page\n", status)


def _list(subjects: Subjects, request: Request) -> dict[str, Any]:
    return {
        "corpora": [
            {
                "address": each.address,
                "sources": len(each.sources),
                "clips": each.clips.num_rows,
                "videos": sum(source.entry.videos for source in each.sources.values()),
                "hours": sum(source.entry.hours for source in each.sources.values()),
            }
            for each in subjects.corpora
        ],
        "runs": [{"address": each.address} for each in subjects.runs],
        "evaluations": [{"address": each.address} for each in subjects.evaluations],
    }


def _corpus(subjects: Subjects, request: Request) -> dict[str, Any]:
    return subjects.corpus(request.path_params["corpus"]).overview()


def _clips(subjects: Subjects, request: Request) -> dict[str, Any]:
    asked = request.query_params
    query = Query(
        search=asked.get("search", ""),
        filters=read_filters(asked.get("filters", "")),
        sort=asked.get("sort", ""),
        descending=asked.get("descending") == "true",
    )
    return subjects.corpus(request.path_params["corpus"]).clips.page(
        query, _number(request, "offset")
    )


def _clip(subjects: Subjects, request: Request) -> dict[str, Any]:
    return subjects.corpus(request.path_params["corpus"]).clip(request.path_params["clip"])


def _video(subjects: Subjects, request: Request) -> Response:
    corpus = subjects.corpus(request.path_params["corpus"])
    store, sample = corpus.playable(request.path_params["clip"])
    return video_answer(store, sample, request.headers.get("range"))


def _dropped(subjects: Subjects, request: Request) -> dict[str, Any]:
    asked = request.query_params
    return subjects.corpus(request.path_params["corpus"]).dropped(
        asked.get("source", ""), asked.get("reason", ""), _number(request, "offset")
    )


def _mixture(subjects: Subjects, request: Request) -> dict[str, Any]:
    mixture = request.query_params.get("mixture", "")
    return plan_mixture(subjects.all_sources(), mixture, _number(request, "samples"))


def _run(subjects: Subjects, request: Request) -> dict[str, Any]:
    return subjects.run(request.path_params["run"]).state()


def _report(subjects: Subjects, request: Request) -> Response:
    run = subjects.run(request.path_params["run"])
    return report_answer(run, {corpus.address for corpus in subjects.corpora})


def _curves(subjects: Subjects, request: Request) -> dict[str, Any]:
    names = request.query_params.getlist("name")
    return subjects.run(request.path_params["run"]).curves(names)


def _evaluation(subjects: Subjects, request: Request) -> dict[str, Any]:
    return subjects.evaluation(request.path_params["evaluation"]).overview()


def _case(subjects: Subjects, request: Request) -> dict[str, Any]:
    evaluation = subjects.evaluation(request.path_params["evaluation"])
    case = request.query_params.get("case")
    if case is None:
        raise NotFoundError("no case is named")
    return evaluation.case(case, _number(request, "prediction"), subjects.find)


def _number(request: Request, name: str) -> int:
    """Return a whole number of the query, 0 if it is missing."""
    text = request.query_params.get(name, "0")
    if not text.isascii() or not text.isdigit() or int(text[:20]) > _MOST_NUMBER:
        raise ConfigError(f"{name} is {text!r:.40}; give a whole number from 0 to 10^18")
    return int(text)
