"""A ClearML server on the loopback that speaks enough of its protocol to take an offline session, and keeps it."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

VERSION = "2.23"


@dataclass
class Server:
    """What was sent: a task's fields, and its events."""

    task: dict[str, Any] = field(default_factory=lambda: {"id": "1" * 32, "project": "2" * 32, "status": "created"})
    events: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def settings(self, folder: Path) -> dict[str, str]:
        """The environment in which ClearML uses this server, and keeps its files in a folder."""
        places = {f"CLEARML_{name}_HOST": self.url for name in ("API", "WEB", "FILES")}
        keys = {"CLEARML_API_ACCESS_KEY": "key", "CLEARML_API_SECRET_KEY": "secret"}
        files = {"CLEARML_CACHE_DIR": str(folder / "cache"), "CLEARML_CONFIG_FILE": str(folder / "none.conf")}
        return {**places, **keys, **files}

    def answer(self, endpoint: str, sent: Any) -> dict[str, Any]:
        """The data of an answer."""
        if endpoint == "auth.login":
            claims = {"exp": time.time() + 3600, "api_version": VERSION, "server_version": "1.0.0", "env": ""}
            return {"token": ".".join(map(_part, ({"alg": "HS256", "typ": "JWT"}, claims, {})))}
        if endpoint == "projects.get_all":
            return {"projects": [{"id": self.task["project"], "name": "headwater"}]}
        if endpoint == "projects.get_by_id":
            return {"project": {"id": self.task["project"], "name": "headwater"}}
        if endpoint == "tasks.get_by_id":
            return {"task": self.task}
        if endpoint == "tasks.get_all":
            return {"tasks": [self.task]}
        if endpoint in ("tasks.create", "tasks.edit", "tasks.update"):
            self.task |= {name: value for name, value in sent.items() if name not in ("task", "force")}
            return {"id": self.task["id"], "updated": 1, "fields": {}}
        if endpoint == "events.add_batch":
            self.events += sent
            return {"added": len(sent), "errors": 0, "errors_info": {}}
        if endpoint in ("tasks.started", "tasks.completed"):
            self.task["status"] = {"tasks.started": "in_progress", "tasks.completed": "completed"}[endpoint]
        return {"updated": 1, "fields": {}}


@contextmanager
def running() -> Iterator[Server]:
    """The server, listening."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            endpoint = self.path.strip("/").rpartition("/")[2]
            many = [json.loads(line) for line in body.splitlines() if line.strip()]
            if endpoint == "events.add_batch":
                sent = [event for event in many if "variant" in event or "msg" in event]
            else:
                sent = many[0] if many else {}
            meta = {
                **{"id": "0", "trx": "0", "result_code": 200, "result_subcode": 0, "result_msg": "OK"},
                **{"error_stack": None, "error_data": {}},
                "endpoint": {"name": endpoint, "requested_version": VERSION, "actual_version": VERSION},
            }
            answer = json.dumps({"meta": meta, "data": server.answer(endpoint, sent)}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def do_GET(self):
            self.do_POST()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        server.url = f"http://127.0.0.1:{listening.server_address[1]}"
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            listening.shutdown()


def _part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
