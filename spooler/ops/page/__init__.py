"""The status page: one document with style and script in it, and the policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files


@cache
def page() -> tuple[bytes, str]:
    """Return the document, and its Content-Security-Policy (CSP level 2: what is inline is named by hash)."""
    folder = files(__package__)
    style = (folder / "status.css").read_text(encoding="utf-8")
    script = (folder / "status.js").read_text(encoding="utf-8")
    text = (folder / "status.html").read_text(encoding="utf-8")
    document = text.replace("/* style */", style).replace("/* script */", script)
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return document.encode(), policy


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
