"""A W&B server on the loopback: it speaks as much of the protocol as wandb asks for, and keeps what it is sent."""

import base64
import gzip
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "a" * 40
"""A key of the form that wandb accepts."""


NOW = "2026-01-01T00:00:00"

MUTATIONS = (
    *("upsertBucket", "createRunFiles", "upsertView", "createCustomChart", "createProject"),
    *("createArtifactManifest", "updateArtifactManifest", "createArtifactFiles", "createArtifact", "commitArtifact"),
    "useArtifact",
)


class Server:
    """What was sent: every request, and the runs, files and views that they leave on a server."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, bytes]] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.charts: dict[str, Any] = {}
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.unknown: list[str] = []
        self.url = ""
        self.lock = threading.Lock()

    def run(self, name: str) -> dict[str, Any]:
        """A run by its id, made where there is none: the lines of each file of its stream stand at their offsets."""
        return self.runs.setdefault(name, {"name": name, "config": {}, "streams": {}, "exit": None, "upserts": []})

    def summary(self, name: str) -> dict[str, Any]:
        """The summary of a run: the last line of its stream."""
        lines = self.run(name)["streams"].get("wandb-summary.json", {})
        return json.loads(lines[max(lines)]) if lines else {}

    def history(self, name: str) -> list[dict[str, Any]]:
        """The points of a run's curves, in the order of their places in its stream."""
        lines = self.run(name)["streams"].get("wandb-history.jsonl", {})
        return [json.loads(lines[at]) for at in sorted(lines)]

    def everything(self) -> bytes:
        """All that was sent, addresses included, for a search by value."""
        return b"\n".join(path.encode() + b"\n" + body for _, path, body in self.requests)

    # what the protocol asks

    def answered(  # noqa: C901 - one line for each question of the protocol
        self, query: str, variables: dict[str, Any]
    ) -> dict[str, Any]:
        """The data that a query of GraphQL asks for."""
        if re.search(r"\b(__schema|__type)\b", query):
            return {"__type": {"fields": [], "inputFields": []}, "__schema": {}}
        for name in MUTATIONS:
            if re.search(rf"\b{name}\b", query):
                return {name: getattr(self, f"_{name.lower()}")(variables)}
        if "artifactType" in query:
            return {"project": {"artifact": None, "artifactType": None}}
        if "upsertModel" in query:
            # wandb-workspaces makes a project that is not there, and needs nothing of it
            return {}
        if "ServerFeatures" in query:
            return {"serverInfo": {"features": []}}
        if re.search(r"\bviewer\b", query):
            return {"viewer": self._viewer(), "serverInfo": {"cliVersionInfo": {}, "latestLocalVersionInfo": None}}
        if "serverInfo" in query:
            return {"serverInfo": {"features": []}}
        if re.search(r"\bbucket\b", query):
            return self._bucket(variables)
        if re.search(r"\b(models|projects)\b", query):
            return {"models": {"edges": [], "pageInfo": {"endCursor": None, "hasNextPage": False}}}
        self.unknown.append(query)
        return {}

    def _viewer(self) -> dict[str, Any]:
        teams = {"edges": [{"node": {"name": "team"}}]}
        told = {"id": "VXNlcjox", "entity": "team", "username": "me", "name": "me", "flags": "{}", "teams": teams}
        return {**told, "email": "", "admin": False, "apiKeys": {"edges": []}, "deletedAt": None}

    def _bucket(self, variables: dict[str, Any]) -> dict[str, Any]:
        name = variables.get("name") or variables.get("runName")
        return {"model": {"bucket": self._described(name) if name in self.runs else None}}

    def _described(self, name: str) -> dict[str, Any]:
        run = self.run(name)
        streams = run["streams"]
        last = {kind: max(lines, default=-1) + 1 for kind, lines in streams.items()}
        history = self.history(name)
        return {
            "id": base64.b64encode(name.encode()).decode(),
            "name": name,
            "displayName": run.get("displayName"),
            "config": json.dumps(run["config"]),
            "summaryMetrics": json.dumps(self.summary(name)),
            "historyLineCount": last.get("wandb-history.jsonl", 0),
            "eventsLineCount": last.get("wandb-events.jsonl", 0),
            "logLineCount": last.get("output.log", 0),
            "historyTail": json.dumps([json.dumps(line) for line in history[-1:]]),
            "eventsTail": "[]",
            "tags": run.get("tags") or [],
            "wandbConfig": json.dumps({"t": 1}),
            "sweepName": None,
            "groupName": run.get("groupName"),
            "jobType": run.get("jobType"),
            "project": {"id": "cA==", "name": run.get("project"), "entity": {"id": "ZQ==", "name": "team"}},
            "historyLineCountLimit": None,
        }

    def _upsertbucket(self, variables: dict[str, Any]) -> dict[str, Any]:
        name = variables["name"]
        inserted = name not in self.runs
        run = self.run(name)
        run["upserts"].append(variables)
        if variables.get("config"):
            run["config"] = json.loads(variables["config"])
        for key in ("displayName", "groupName", "jobType", "tags", "project", "entity", "notes"):
            if variables.get(key) is not None:
                run[key] = variables[key]
        return {"bucket": self._described(name), "inserted": inserted}

    def _createrunfiles(self, variables: dict[str, Any]) -> dict[str, Any]:
        run = variables.get("run") or variables.get("name")
        files = variables.get("files") or []
        uploads = [{"name": file, "uploadUrl": f"{self.url}/storage/{run}/{file}"} for file in files]
        return {"runID": run, "uploadHeaders": [], "files": uploads}

    def _upsertview(self, variables: dict[str, Any]) -> dict[str, Any]:
        number = variables.get("id") or f"view{len(self.views)}"
        inserted = number not in self.views
        self.views[number] = variables
        project = {"id": "cA==", "name": variables["projectName"], "entityName": variables["entityName"]}
        told = {key: variables.get(key) for key in ("name", "displayName", "description", "type", "spec")}
        user = {"id": "VXNlcjox", "username": "me", "name": "me", "photoUrl": "", "admin": False}
        return {
            "view": {"id": number, **told, "project": project, "user": user, "createdAt": NOW, "updatedAt": NOW},
            "inserted": inserted,
        }

    def _createcustomchart(self, variables: dict[str, Any]) -> dict[str, Any]:
        self.charts[variables["chartName"]] = variables
        return {"chart": {"id": f"{variables['entity']}/{variables['chartName']}"}}

    def _createproject(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"id": "cA==", "name": variables.get("name")}}

    def _createartifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        asked = _input(variables)
        collection, digest = _collection(asked), asked["digest"]
        known = [number for number, one in self.artifacts.items() if one["is"] == (collection, digest)]
        number = known[0] if known else f"artifact{len(self.artifacts)}"
        held = self.artifacts.setdefault(number, {"is": (collection, digest), "made": [], "used": []})
        if not known:
            held["made"].append(asked["runName"])
        state = "COMMITTED" if known else "PENDING"
        return {"artifact": {"id": number, "state": state, "artifactSequence": {"id": "s", "latestArtifact": None}}}

    def _useartifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        asked = _input(variables)
        used = self.artifacts[asked["artifactID"]]["used"]
        if asked["runName"] not in used:
            used.append(asked["runName"])
        return {"artifact": {"id": asked["artifactID"]}}

    def _createartifactmanifest(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"artifactManifest": {"id": "manifest", "file": self._place(variables, "manifest.json")}}

    _updateartifactmanifest = _createartifactmanifest

    def _createartifactfiles(self, variables: dict[str, Any]) -> dict[str, Any]:
        nodes = [{"node": self._place(file, file["name"])} for file in _input(variables).get("artifactFiles", [])]
        return {"files": {"edges": nodes}}

    def _place(self, variables: dict[str, Any], name: str) -> dict[str, Any]:
        number = _input(variables).get("artifactID") or ""
        url = f"{self.url}/storage/{number}/{name}"
        more = {"uploadMultipartUrls": None, "storagePath": f"{number}/{name}", "artifact": {"id": number}}
        return {"id": name, "name": name, "displayName": name, "uploadUrl": url, "uploadHeaders": [], **more}

    def _commitartifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"artifact": {"id": _input(variables).get("artifactID"), "digest": ""}}

    def streamed(self, name: str, content: dict[str, Any]) -> None:
        """Put what comes by a run's stream at its places."""
        run = self.run(name)
        for file, part in (content.get("files") or {}).items():
            lines = run["streams"].setdefault(file, {})
            lines |= dict(enumerate(part["content"], start=part.get("offset", 0)))
        if content.get("complete"):
            run["exit"] = content.get("exitcode")


def _input(variables: dict[str, Any]) -> dict[str, Any]:
    """What a mutation is given, which may stand in one variable."""
    return variables.get("input") or variables


def _collection(asked: dict[str, Any]) -> str:
    """The name of the artifact that a mutation is about, without its version."""
    return (asked.get("artifactCollectionNames") or [asked.get("artifactCollectionName")])[0]


@contextmanager
def running() -> Iterator[Server]:
    """A server that listens until the end of the block."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def _body(self) -> bytes:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            return body

        def _answer(self, content: Any = None) -> None:
            body = json.dumps({} if content is None else content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = self._body()
            with server.lock:
                server.requests.append(("POST", self.path, body))
                if self.path.startswith("/graphql"):
                    asked = json.loads(body)
                    return self._answer({"data": server.answered(asked["query"], asked.get("variables") or {})})
                if self.path.endswith("/file_stream"):
                    server.streamed(self.path.split("/")[-2], json.loads(body))
            return self._answer()

        def do_PUT(self) -> None:
            body = self._body()
            with server.lock:
                server.requests.append(("PUT", self.path, body))
                server.files[self.path.removeprefix("/storage/")] = body
            self._answer()

        def do_GET(self) -> None:
            with server.lock:
                server.requests.append(("GET", self.path, b""))
            self._answer()

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
