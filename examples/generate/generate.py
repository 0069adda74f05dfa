"""Makes Python modules from an OpenAPI 3 description in JSON. Standard library only; knows what the sample needs.

generate.py targets SPEC     what there is to make, as a JSON list
generate.py models SPEC      a dataclass for each schema
generate.py client SPEC      a client with a method for each operation
generate.py server SPEC      a server that answers each operation with its example
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
HEAD = '"""{what} of {title} {version}. Made by examples/generate/generate.py."""\n'

CLIENT = '''
import json
from dataclasses import asdict
from urllib.request import Request, urlopen

import models


class Client:
    """Speaks to the API at `url`."""

    def __init__(self, url):
        self._url = url.rstrip("/")

    def _ask(self, method, path, body=None):
        data = None if body is None else json.dumps(asdict(body)).encode()
        request = Request(self._url + path, data, {"Content-Type": "application/json"}, method=method)
        with urlopen(request, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text else None
'''

SERVER = '''
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROUTES = {routes}


class Handler(BaseHTTPRequestHandler):
    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for method, path, status, example in ROUTES:
            if method == self.command and re.fullmatch(path, self.path):
                break
        else:
            status, example = 404, {{"message": "no such operation"}}
        body = b"" if example is None else json.dumps(example).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *parts):
        pass


def serve():
    """A server on a port of the system's choice; `serve_forever` it."""
    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)
'''


def snake(name: str) -> str:
    """listBooks as list_books."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def operations(spec: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of each operation."""
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def answer_of(operation: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The status of an operation that goes well, and its content."""
    status, response = next((code, one) for code, one in operation["responses"].items() if code.startswith("2"))
    return int(status), response.get("content", {}).get("application/json", {})


def models(spec: dict[str, Any]) -> str:
    """A dataclass for each schema; what need not be there comes last and is None."""
    out = ["\nfrom dataclasses import dataclass\n"]
    for name, schema in spec["components"]["schemas"].items():
        required = schema.get("required", [])
        fields = sorted(schema["properties"].items(), key=lambda field: field[0] not in required)
        out.append(f"\n\n@dataclass\nclass {name}:\n")
        for field, kind in fields:
            text = TYPES[kind["type"]]
            out.append(f"    {field}: {text}\n" if field in required else f"    {field}: {text} | None = None\n")
    return "".join(out)


def client(spec: dict[str, Any]) -> str:
    """A class with a method for each operation, which gives models."""
    out = [CLIENT]
    for method, path, operation in operations(spec):
        names = re.findall(r"{(\w+)}", path) + (["body"] if "requestBody" in operation else [])
        asked = f'self._ask("{method}", f"{path}"{", body" if "requestBody" in operation else ""})'
        schema = answer_of(operation)[1].get("schema", {})
        model = str(schema.get("$ref") or schema.get("items", {}).get("$ref") or "").rpartition("/")[2]
        given = asked
        if model:
            given = f"[models.{model}(**one) for one in {asked}]" if "items" in schema else f"models.{model}(**{asked})"
        out.append(f"\n    def {snake(operation['operationId'])}({', '.join(['self', *names])}):\n")
        out.append(f'        """{operation["summary"]}."""\n        return {given}\n')
    return "".join(out)


def server(spec: dict[str, Any]) -> str:
    """A table of routes with their examples, and what serves it."""
    routes = []
    for method, path, operation in operations(spec):
        status, content = answer_of(operation)
        routes.append((method, re.sub(r"{\w+}", "[^/]+", path), status, content.get("example")))
    lines = "".join(f"    {route!r},\n" for route in routes)
    return SERVER.format(routes=f"[\n{lines}]")


MAKERS = {"models": models, "client": client, "server": server}

if len(sys.argv) != 3 or sys.argv[1] not in ("targets", *MAKERS):
    raise SystemExit(__doc__)
_, target, file = sys.argv
described = json.loads(Path(file).read_text())
if target == "targets":
    print(json.dumps(list(MAKERS)))
else:
    print(HEAD.format(what=target.title(), **described["info"]) + MAKERS[target](described), end="")
