"""The requests of the labelling page, and their answers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sonarseg.densecrf.published import published
from sonarseg.densecrf.scribbles import fill_from_strokes
from sonarseg.errors import UserError
from studies.labelling.class_changes import add_class, merge_classes, rename_class
from studies.labelling.guard import Guard, Keys
from studies.labelling.label_table import LabelChange, LabelConflictError
from studies.labelling.masks import MaskConflictError
from studies.labelling.session import Session

_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
# The published setting for sonar that fills a tile from strokes
_SETTING = "w-s3Tseg"
Work = Callable[[Session, Request, bytes], Response]


class _MalformedError(Exception):
    """A request that the page would not send."""


def make_app(session: Session, keys: Keys) -> ASGIApp:
    """Answer the page of a session; nobody without token or cookie gets an answer."""
    page = {
        file.name: (file.read_bytes(), _KINDS[suffix])
        for file in files("studies.labelling.page").iterdir()
        if (suffix := file.name[file.name.rfind(".") :]) in _KINDS
    }

    def asset(name: str) -> Response:
        if name not in page:
            return JSONResponse({"error": "There is no such page."}, 404)
        content, kind = page[name]
        return Response(content, media_type=kind)

    async def index(request: Request) -> Response:
        return asset("index.html")

    async def static(request: Request) -> Response:
        return asset(str(request.path_params["name"]))

    app = Starlette(
        routes=[
            Route("/", index),
            Route("/page/{name}", static),
            Route("/api/state", _answer(session, _state)),
            Route("/api/changes", _answer(session, _changes)),
            Route("/api/labels", _answer(session, _label), methods=["POST"]),
            Route("/api/classes", _answer(session, _change_classes), methods=["POST"]),
            Route("/api/picture", _answer(session, _picture)),
            Route("/api/thumbnail", _answer(session, _thumbnail)),
            Route("/api/mask", _answer(session, _mask)),
            Route("/api/mask", _answer(session, _draw), methods=["POST"]),
            Route("/api/fill", _answer(session, _fill), methods=["POST"]),
        ]
    )
    return Guard(app, keys)


def _answer(session: Session, work: Work) -> Callable[[Request], Awaitable[Response]]:
    """Do the work in a thread, and turn what is wrong into a sentence that the page shows."""

    async def endpoint(request: Request) -> Response:
        body = await request.body()
        try:
            return await run_in_threadpool(work, session, request, body)
        except UserError as error:
            return JSONResponse({"error": str(error)}, 422)
        except LabelConflictError as error:
            return JSONResponse(
                {"error": "Another page has changed this meanwhile.", "current": error.current}, 409
            )
        except MaskConflictError:
            return JSONResponse({"error": "Another page has changed this mask meanwhile."}, 409)
        except _MalformedError:
            return JSONResponse({"error": "This request is not one of the page: load it again."}, 400)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            return JSONResponse({"error": f"It could not be written to the disk or read ({reason})."}, 507)

    return endpoint


def _state(session: Session, request: Request, body: bytes) -> Response:
    return JSONResponse(session.state())


def _changes(session: Session, request: Request, body: bytes) -> Response:
    since = request.query_params.get("since", "")
    if not since.isdecimal():
        raise _MalformedError
    with session.table.lock:
        count, shown = session.table.changes(int(since))
        answer: dict[str, Any] = {"changes": count, "shown": shown, "generation": session.table.generation}
    tile = request.query_params.get("tile")
    if tile in session.table.images:
        answer["tag"] = session.masks.tag(tile)
    return JSONResponse(answer)


def _label(session: Session, request: Request, body: bytes) -> Response:
    content = _json(body)
    rows = content.get("changes")
    if not isinstance(rows, list) or not all(_is_change(row) for row in rows):
        raise _MalformedError
    with session.table.lock:
        if content.get("generation") != session.table.generation:
            return JSONResponse({"error": "The classes have changed: the page is loaded again."}, 409)
        count = session.table.apply([LabelChange(*row) for row in rows])
    return JSONResponse({"changes": count})


def _is_change(row: object) -> bool:
    return isinstance(row, list) and len(row) == 3 and all(isinstance(cell, str) for cell in row)


def _change_classes(session: Session, request: Request, body: bytes) -> Response:
    content = _json(body)
    what, name, index, into = (content.get(key) for key in ("what", "name", "index", "into"))
    with session.table.lock:
        if content.get("generation") != session.table.generation:
            return JSONResponse({"error": "The classes have changed: the page is loaded again."}, 409)
        match what, name, index, into:
            case "add", str(), _, _:
                add_class(session.table, name)
            case "rename", str(), int(), _:
                rename_class(session.table, index, name)
            case "merge", _, int(), int():
                merge_classes(session.table, index, into)
            case _:
                raise _MalformedError
        return JSONResponse({"generation": session.table.generation})


def _picture(session: Session, request: Request, body: bytes) -> Response:
    return Response(session.pictures.png(_tile(session, request)), media_type="image/png")


def _thumbnail(session: Session, request: Request, body: bytes) -> Response:
    return Response(session.pictures.thumbnail(_tile(session, request)), media_type="image/webp")


def _mask(session: Session, request: Request, body: bytes) -> Response:
    mask, tag = session.masks.read(_tile(session, request), len(session.table.classes))
    headers = {"X-Height": str(mask.shape[0]), "X-Width": str(mask.shape[1]), "X-Tag": tag}
    return Response(mask.tobytes(), media_type="application/octet-stream", headers=headers)


def _draw(session: Session, request: Request, body: bytes) -> Response:
    tile, tag = _tile(session, request), request.query_params.get("tag", "")
    with session.table.lock:
        if request.query_params.get("generation") != str(session.table.generation):
            return JSONResponse({"error": "The classes have changed: the page is loaded again."}, 409)
        return JSONResponse({"tag": session.masks.write(tile, body, len(session.table.classes), tag)})


def _fill(session: Session, request: Request, body: bytes) -> Response:
    tile = _tile(session, request)
    image = session.pictures.grey(tile)
    if len(body) != 2 * image.shape[0] * image.shape[1]:
        raise _MalformedError
    strokes = np.frombuffer(body, dtype="<i2").reshape(image.shape[:2])
    filled = fill_from_strokes(
        strokes, image, len(session.table.classes), published(_SETTING), session.pictures.valid(tile)
    )
    return Response(filled.tobytes(), media_type="application/octet-stream")


def _tile(session: Session, request: Request) -> str:
    """The tile that a request names: one of the survey's list, never a path."""
    tile = request.query_params.get("tile", "")
    if tile not in session.table.images:
        raise UserError("This tile is not one of the survey: load the page again.")
    return tile


def _json(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _MalformedError from error
    if not isinstance(content, dict):
        raise _MalformedError
    return content
