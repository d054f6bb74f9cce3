"""The built web UI: hashed assets for a year, the page itself asked for anew, every other path is the page."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

from spinner_webgateway.api.errors import problem_response

FOR_EVER = "public, max-age=31536000, immutable"
NO_UI = """<!doctype html><title>Spinner</title><meta charset="utf-8"><h1>Spinner</h1>
<p>The web UI is not built here. Build it with <code>make ui</code>, or set <code>SPINNER_UI_DIST</code> to the
folder of a built one. The API is at <a href="/api/v1/openapi.json">/api/v1/openapi.json</a>.</p>"""
SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
}


def install(app: FastAPI, folder: Path | None) -> None:
    """Serves the folder below every path that the API doesn't have. Without it, a page that says how to build it."""
    root = folder.resolve() if folder is not None else None

    @app.get("/{path:path}", include_in_schema=False)
    async def page(path: str, request: Request) -> Response:
        if path == "api" or path.startswith("api/"):
            fix = "The API is described at /api/v1/openapi.json."
            return problem_response(404, "NOT_FOUND", f"There is nothing at {request.url.path}.", fix)
        if root is None:
            return HTMLResponse(NO_UI, headers=SECURITY)
        file = (root / path).resolve()
        if path and file.is_relative_to(root) and file.is_file():
            hashed = "assets/" in path
            return FileResponse(file, headers={**SECURITY, "cache-control": FOR_EVER if hashed else "no-cache"})
        if path.startswith("assets/"):
            return problem_response(404, "NOT_FOUND", f"There is nothing at /{path}.", "Reload the page.")
        return FileResponse(root / "index.html", headers={**SECURITY, "cache-control": "no-cache"})


def default_folder() -> Path | None:
    """Returns where a source tree has its built UI, when it has one."""
    folder = Path(__file__).parents[3] / "ui" / "dist"
    return folder if (folder / "index.html").is_file() else None
