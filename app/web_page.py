"""The files of app/page and the loaded models in, a page to try them out.

The page asks the server's own predict call and nothing else: what it shows, every client can have.
"""

import json
from pathlib import Path

from starlette.responses import Response
from starlette.routing import Route

FILES = {"/": ("index.html", "text/html"), "/page.css": ("page.css", "text/css"),
         "/page.js": ("page.js", "text/javascript")}
# The page needs no other host, no script or style inside the HTML, and never makes HTML out of strings.
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'")
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
           "Cache-Control": "no-cache"}


def page_routes(models):
    """The page, and /models.json, which says what it may ask.

    Args:
        models: {name: `app.served_models.ServedModel`}.
    """
    async def models_json(request):
        return Response(json.dumps(describe_models(models)), headers=HEADERS, media_type="application/json")

    return [*(_file(path, *file) for path, file in FILES.items()), Route("/models.json", models_json)]


def _file(path, name, media_type):
    content = (Path(__file__).parent / "page" / name).read_bytes()

    async def file(request):
        return Response(content, headers=HEADERS, media_type=media_type)

    return Route(path, file)


def describe_models(models):
    """{"models": [{"name", "version", "about": what the export says of itself, "signatures": {name: {"inputs",
    "outputs": {name: {"dtype": "string", "shape": [null]}}}}}]} of the versions that answer now, as JSON types."""
    def tensors(specs):
        return {name: {"dtype": spec.dtype.name, "shape": None if spec.shape.rank is None else spec.shape.as_list()}
                for name, spec in specs.items()}

    return {"models": [
        {"name": name, "version": model.current.number, "about": model.current.about, "signatures": {
            signature.name: {"inputs": tensors(signature.inputs), "outputs": tensors(signature.outputs)}
            for signature in model.current.signatures.values()}}
        for name, model in models.items()]}
