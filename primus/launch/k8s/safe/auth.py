"""Who asks a Primus-SaFE server: an API key or token of the environment, of a file, or of `primus k8s login`."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from primus.errors import MissingError, ServiceError
from primus.launch.k8s.http import Http
from primus.run import explained

KEY_VARIABLE = "PRIMUS_SAFE_API_KEY"


def find_token(url: str, token_file: Path | None, environ: Mapping[str, str]) -> str | None:
    """The named file's content, else the variable's, else what a login left behind; None asks without one."""
    if token_file is not None:
        return _read_file(token_file)
    if environ.get(KEY_VARIABLE, "").strip():
        return _one_word(environ[KEY_VARIABLE], KEY_VARIABLE)
    kept = _kept(logins_file(environ)).get(_server(url))
    if kept is None:
        return None
    if kept["expire"] and kept["expire"] < time.time():
        print("Warning: the token of the last login has expired; use `primus k8s login` again", file=sys.stderr)
        return None
    return str(kept["token"])


def log_in(http: Http, url: str, *, name: str, password: str, environ: Mapping[str, str]) -> Path:
    """Ask the server for a token and keep it, for this user only; returns the file."""
    answer = http.once("POST", "/login", body={"type": "default", "name": name, "password": password})
    if not isinstance(answer, dict) or not answer.get("token"):
        raise ServiceError("the server's answer to the login holds no token")
    path = logins_file(environ)
    kept = _kept(path) | {_server(url): {"token": answer["token"], "expire": _expiry(answer.get("expire"))}}
    with explained(f"can't write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(kept, file)
        partial.replace(path)
    return path


def logins_file(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or Path.home()) / ".config"
    return Path(base) / "primus" / "logins.json"


def _read_file(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise MissingError(f"--token-file {path}: it can't be read ({error})") from None
    token = _one_word(text, f"--token-file {path}")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        print(f"Warning: other users can read {path}; chmod 600 it", file=sys.stderr)
    return token


def _one_word(text: str, source: str) -> str:
    """What can stand in a header; a message must not show it."""
    if len(text.split()) != 1 or not text.isascii():
        raise MissingError(f"{source}: expected one line with an API key or token")
    return text.strip()


def _kept(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise MissingError(f"{path} is damaged; delete it and use `primus k8s login` again") from None
    return kept if isinstance(kept, dict) else {}


def _expiry(value: Any) -> float:
    """Seconds since 1970, or 0 for a token that does not say when it ends."""
    try:
        return float(value or 0)
    except (TypeError, ValueError):
        return 0.0


def _server(url: str) -> str:
    return url.rstrip("/").removesuffix("/api/v1")
