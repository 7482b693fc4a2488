"""pycircleci as its readme shows it: the artifacts of a build, and then one after another.

A peer of ``download.py``. Its listing is that of API v1.1, which has no pages.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

from pycircleci.api import Api


def main() -> None:
    root = Path(os.environ["OUTPUT"])
    address = urlsplit(os.environ["LISTING"])
    _, project, job = address.path.removesuffix("/artifacts").rsplit("/", 2)
    user = address.path.rsplit("/", 4)[1]
    api = Api(url=f"{address.scheme}://{address.netloc}/api")  # the token is CIRCLE_TOKEN's
    for item in api.get_artifacts(user, project, job):
        target = root / str(item["node_index"]) / item["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        api.download_artifact(item["url"], target.parent, target.name)


if __name__ == "__main__":
    main()
