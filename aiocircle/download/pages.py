"""A web page in a file's place. Pure.

Sign-in pages, portals and proxies answer with status 200 and HTML whatever was asked for. Artifacts may be HTML as
well, so a page is refused only where two things speak against it:

* Nothing identifies its bytes. Object stores give each object a strong validator, a page that is made for the occasion
  has none.
* The artifact is something else by its name: it has a suffix, and not one of HTML's. Or a redirect led to the API
  itself, which is where people sign in and not where files are.

What is refused is not asked for again: the page would come once more.
"""

from collections.abc import Mapping

from aiocircle.download.resume import validator_of

HTML = ("text/html", "application/xhtml+xml")
HTML_NAMES = (".html", ".htm", ".xhtml", ".xht", ".shtml")


def is_page_instead(name: str, headers: Mapping[str, str], *, home: bool) -> bool:
    """Tell whether a successful answer is a page that stands in a file's place.

    Args:
        name: The artifact's name.
        headers: The answer's header fields.
        home: A redirect led to the API's own origin.
    """
    if not headers.get("Content-Type", "").lstrip().lower().startswith(HTML) or validator_of(headers) is not None:
        return False
    return home or ("." in name.strip(".") and not name.lower().endswith(HTML_NAMES))
