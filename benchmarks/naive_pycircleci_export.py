"""The same with pycircleci, as its readme shows it: ``naive_pycircleci_export.py URL TOKEN FILE``."""

import json
import sys
from pathlib import Path

from pycircleci.api import Api


def main() -> None:
    url, token, file = sys.argv[1:]
    client = Api(token=token, url=url)
    with Path(file).open("w", encoding="utf-8") as lines:
        for pipeline in client.get_project_pipelines("acme", "web", paginate=True):
            lines.write(json.dumps(pipeline) + "\n")
            for workflow in client.get_pipeline_workflow(pipeline["id"], paginate=True):
                lines.write(json.dumps(workflow) + "\n")
                lines.writelines(
                    json.dumps(job) + "\n" for job in client.get_workflow_jobs(workflow["id"], paginate=True)
                )


if __name__ == "__main__":
    main()
