"""What one would write for an export without a tool: one request after another, following every page token.

``naive_export.py URL TOKEN FILE``: pipelines, workflows and jobs of gh/acme/web as JSON Lines, with http.client's one
connection kept open.
"""

import http.client
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit


class Api:
    """One connection to the API."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        self._headers = {"Circle-Token": token}

    def items(self, path: str) -> Iterator[dict[str, Any]]:
        """Yield the items of a listing."""
        token: str | None = ""
        while token is not None:
            query = f"?page-token={quote(token)}" if token else ""
            self._connection.request("GET", f"/api/v2{path}{query}", headers=self._headers)
            response = self._connection.getresponse()
            body = response.read()
            if response.status != http.client.OK:
                sys.exit(f"{path}: {response.status}")
            page = json.loads(body)
            yield from page["items"]
            token = page.get("next_page_token")


def main() -> None:
    url, token, file = sys.argv[1:]
    api = Api(url, token)
    with Path(file).open("w", encoding="utf-8") as lines:
        for pipeline in api.items("/project/gh/acme/web/pipeline"):
            lines.write(json.dumps(pipeline) + "\n")
            for workflow in api.items(f"/pipeline/{pipeline['id']}/workflow"):
                lines.write(json.dumps(workflow) + "\n")
                lines.writelines(json.dumps(job) + "\n" for job in api.items(f"/workflow/{workflow['id']}/job"))


if __name__ == "__main__":
    main()
