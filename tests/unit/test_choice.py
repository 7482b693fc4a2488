"""What a run chose survives it as text; what somebody made of the text is refused in words."""

import pytest

from aiocircle import DownloadOptions, Selection, Shard
from aiocircle.api import Artifact
from aiocircle.download.choice import choice_in, choice_of
from aiocircle.errors import ConfigurationError


def test_what_was_chosen_comes_back_as_it_was() -> None:
    selection = Selection("gh/acme/web", all=True, job_names=["build*"], statuses=["failed"], all_reruns=True)
    options = DownloadOptions(include=["*.xml"], exclude=("old/**",), nodes=[0], max_size=0, shard=Shard(1, 2))
    made = choice_of(selection, options)
    found = choice_in(made.text)
    assert found.text == made.text
    assert (found.sizes, found.shard, found.layout.template) == (made.sizes, made.shard, made.layout.template)
    assert Selection("gh/acme/web", pipeline=1, **found.below).job_names == ("build*",)
    wanted = [
        found.wanted(Artifact(path=path, node_index=node)) for path, node in (("a.xml", 0), ("a.xml", 1), ("a", 0))
    ]
    assert wanted == [True, False, False]


def test_an_older_version_kept_the_layout_alone_or_nothing() -> None:
    assert choice_in("kept/{path}").layout.template == "kept/{path}"
    assert choice_in(None).wanted(Artifact(path="x", node_index=3))


@pytest.mark.parametrize(
    "text", ["[]", "5", '{"x": 1}', '{"shard": 3}', '{"include": "a"}', '{"max_size": "1"}', "{path"]
)
def test_what_is_no_such_text_is_refused_in_words(text: str) -> None:
    with pytest.raises(ConfigurationError):
        choice_in(text)
