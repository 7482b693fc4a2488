r"""An artifact's name becomes a place below the output directory.

Whoever wrote the build chose the name (``store_artifacts`` has a free ``destination``), so it is not trusted. Three
answers are possible:

* **Kept**, if it can only mean one file below the root. Odd is not unsafe: ``.hidden``, ``..foo``, ``-rf``, ``a b``,
  ``%2e%2e`` and, on POSIX, ``CON`` stay as they are.
* **Altered**, with a note, if one harmless reading exists. The characters that make a name mean something else
  (``\``, a drive's colon, NUL, control and bidi characters, on Windows several more) are written as the
  ``%XX`` of their UTF-8 bytes; over-long components keep their start and get a digest.
* **Refused**, if it asks to leave the root, in either platform's spelling, or names no file.

`SafePath` is the type of the result: it cannot be made from anything else, so a function that takes one needs no check
of its own. ``%`` itself is not escaped, hence two names can become the same one. `Claims` settles that, together with
all other ways in which two artifacts want one place.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from typing import Final, Literal, Self

from attrs import define, field, frozen

from aiocircle.download.table import NumberTable
from aiocircle.errors import UnsafePathError

OWN_DIRECTORY: Final = ".aiocircle"
"""Where a downloader keeps its records, at the root of the output. No artifact is placed there."""

MAX_COMPONENT_BYTES: Final = 255  # NAME_MAX of ext4, XFS, APFS; NTFS counts UTF-16 units, of which there are never more
MAX_PATH_BYTES: Final = 3000  # Linux refuses 4096 with the output directory in front
MAX_LEVELS: Final = 200

# U+2028 to U+202E are the line and paragraph separators and the bidi overrides; U+2066 to U+2069 the bidi isolates.
_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
_SURROGATE = r"\ud800-\udfff"
_DEVICE = r"(?:CON|PRN|AUX|NUL|COM[0-9\u00b9\u00b2\u00b3]|LPT[0-9\u00b9\u00b2\u00b3]|CONIN\$|CONOUT\$)"
_SHORT = "|".join(rf"(?<=\A[^.]{{{n}}})~(?=[0-9]{{1,{7 - n}}}(?:\.[^.]{{0,3}})?\Z)" for n in range(1, 7))

_SUSPECT = re.compile(rf"[\\{_CONTROL}{_SURROGATE}]")
# May suspect too much; the rules then find nothing.
_SUSPECT_ON_WINDOWS = re.compile(r'[<>:"|?*~]|[. ](?:/|\Z)|(?:\A|/)(?:CON|PRN|AUX|NUL|COM|LPT)', re.IGNORECASE)

_DRIVE = (re.compile(r"(?<=\A.):", re.DOTALL), "drive letter")
_RULES = (
    (re.compile(r"\\"), "backslash"),
    (re.compile(f"[{_CONTROL}]"), "control character"),
    (re.compile(f"[{_SURROGATE}]"), "broken character"),
)
# Device names: https://learn.microsoft.com/windows/win32/fileio/naming-a-file. Short names (LONGNA~1.TXT) are second
# names that Windows gives to files by itself: writing to one would replace the file it stands for.
_WINDOWS_RULES = (
    (re.compile(r'[<>:"|?*]'), "character that Windows does not allow"),
    (re.compile(r"[. ]\Z"), "trailing dot or space"),
    (re.compile(rf"\A(?={_DEVICE} *(?:\.|\Z)).", re.IGNORECASE), "device name of Windows"),
    (re.compile(_SHORT), "short name of Windows"),
)

_EXTENSION = re.compile(r"(?<=[^.])(?:\.tar)?\.[A-Za-z0-9]{1,16}\Z")

# Default_Ignorable_Code_Point: HFS+ and ext4's casefold compare names without them.
_IGNORABLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def _check_parts(_path: object, _attribute: object, parts: tuple[str, ...]) -> None:
    text = "/".join(parts)
    if len(parts) > MAX_LEVELS:
        raise UnsafePathError(f"path has {len(parts)} levels, more than {MAX_LEVELS}: {_shown(text)}")
    if text.count("/") != len(parts) - 1 or not _is_plain(text) or _is_own(parts[0]):
        raise UnsafePathError(f"not the components of a safe relative path: {_shown(text)}")
    if (size := len(text.encode())) > MAX_PATH_BYTES:
        raise UnsafePathError(f"path has {size} bytes, more than {MAX_PATH_BYTES}: {_shown(text)}")
    if size > MAX_COMPONENT_BYTES and any(len(part.encode()) > MAX_COMPONENT_BYTES for part in parts):
        raise UnsafePathError(f"a component has more than {MAX_COMPONENT_BYTES} bytes: {_shown(text)}")


@frozen
class SafePath:
    """A relative path that stays below the directory it is joined to.

    Attributes:
        parts: Its components, at least one; the last one is the file.

    Raises:
        UnsafePathError: The parts are not such a path.
    """

    parts: tuple[str, ...] = field(validator=_check_parts)

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.parts[-1]

    @property
    def parent(self) -> tuple[str, ...]:
        """The directories above the file, outermost first."""
        return self.parts[:-1]

    @classmethod
    def checked(cls, parts: tuple[str, ...]) -> Self:
        """Return a path of components that have just been checked, without doing so a second time."""
        path = cls.__new__(cls)
        object.__setattr__(path, "parts", parts)
        return path

    def __str__(self) -> str:
        return "/".join(self.parts)


@frozen
class PlacedPath:
    """A safe path and what was done to reach it.

    Attributes:
        path: Where the artifact goes.
        note: Why and how its name was altered, one phrase for the report; ``None`` if it was not.
    """

    path: SafePath
    note: str | None = None


def safe_path(path: str, *, windows: bool = False) -> PlacedPath:
    """Turn an artifact's name into a place below the output directory.

    Args:
        path: The ``path`` of a listing, or that of a layout already filled in.
        windows: Apply Windows' rules about names as well.

    Raises:
        UnsafePathError: It would lead outside, names no file, or is beyond the limits of file systems.
    """
    parts, note = safe_parts(path, windows=windows)
    if (
        note is None
        and len(path.encode()) <= MAX_COMPONENT_BYTES
        and len(parts) <= MAX_LEVELS
        and not _is_own(parts[0])
    ):
        return PlacedPath(SafePath.checked(parts))
    if _is_own(parts[0]):
        parts = (_fitted(_percent(parts[0][0]) + parts[0][1:]), *parts[1:])
        note = joined_notes(note, f"{OWN_DIRECTORY} belongs to the downloader, dot percent-encoded")
    return PlacedPath(SafePath(parts), note)


def safe_parts(path: str, *, windows: bool = False) -> tuple[tuple[str, ...], str | None]:
    """Return the components of a name that will stand below others, and a note if they differ from it.

    Raises:
        UnsafePathError: It would lead outside or names no file.
    """
    if _is_ordinary(path, windows=windows):
        return tuple(path.split("/")), None
    if ".." in re.split(r"[/\\]", path):
        raise UnsafePathError(f"'..' would lead outside the output directory: {_shown(path)}")
    components = path.split("/")
    if components[-1] in {"", "."}:
        raise UnsafePathError(f"names no file: {_shown(path)}")
    kept = [component for component in components if component not in {"", "."}]
    notes = _notes_of_dropped(path, dropped=len(components) - len(kept))
    kept[0] = _encoded(kept[0], (_DRIVE,), notes)
    rules = _RULES + _WINDOWS_RULES if windows else _RULES
    encoded = [_encoded(component, rules, notes) for component in kept]
    parts = tuple(_fitted(component) for component in encoded)
    if parts != tuple(encoded):
        notes.append(f"component over {MAX_COMPONENT_BYTES} bytes shortened")
    return parts, joined_notes(*notes)


def joined_notes(*notes: str | None) -> str | None:
    """Return one phrase for several, without repeating any; ``None`` if there is none."""
    return "; ".join(dict.fromkeys(note for note in notes if note)) or None


def _is_ordinary(path: str, *, windows: bool) -> bool:
    suspect = not _is_plain(path) or (windows and _SUSPECT_ON_WINDOWS.search(path))
    return not suspect and len(path.encode()) <= MAX_COMPONENT_BYTES


def _is_plain(path: str) -> bool:
    """Tell that no component is empty, ``.`` or ``..``, and no character means anything to some platform.

    Every path comes here three times; one expression for all of it takes four times as long.
    """
    framed = f"/{path}/"
    special = "//" in framed or "/./" in framed or "/../" in framed or path[1:2] == ":"
    return not special and not _SUSPECT.search(path)


def _notes_of_dropped(path: str, *, dropped: int) -> list[str]:
    leading = len(path) - len(path.lstrip("/"))
    notes = ["leading slash removed"] if leading else []
    if dropped > leading:
        notes.append("empty and '.' components removed")
    return notes


def _encoded(component: str, rules: tuple[tuple[re.Pattern[str], str], ...], notes: list[str]) -> str:
    for pattern, what in rules:
        component, count = pattern.subn(lambda match: _percent(match[0]), component)
        if count:
            notes.append(f"{what} percent-encoded")
    return component


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


def _fitted(component: str) -> str:
    encoded = component.encode()
    if len(encoded) <= MAX_COMPONENT_BYTES:
        return component
    return _marked(component, hashlib.sha256(encoded).hexdigest()[:16])


def _marked(name: str, mark: str) -> str:
    """Return ``stem~mark.ext``, the stem cut at a code point so that it fits."""
    extension = found[0] if (found := _EXTENSION.search(name)) else ""
    tail = f"~{mark}{extension}"
    stem = name.removesuffix(extension).encode()[: MAX_COMPONENT_BYTES - len(tail)]
    return stem.decode("utf-8", "ignore") + tail


def _is_own(component: str) -> bool:
    return _folded(component, "NFKC").rstrip(". ") == OWN_DIRECTORY


def _folded(text: str, form: Literal["NFD", "NFKC"]) -> str:
    """Return one spelling for all that some case-insensitive or normalising file system may take for the same name.

    Upper-casing first joins what NTFS's table joins and case-folding does not (dotless i).
    """
    if text.isascii():
        return text.lower()
    cased = unicodedata.normalize(form, _IGNORABLE.sub("", text)).upper().casefold()
    return unicodedata.normalize(form, cased)


def _shown(path: str) -> str:
    return repr(path if len(path) <= 120 else f"{path[:120]}…")  # noqa: PLR2004 -- a message stays readable


class DuplicateClaim(Exception):  # noqa: N818 -- a listing that repeats itself is no error
    """The same artifact claims a name that it holds already.

    Attributes:
        path: The name it holds.
    """

    def __init__(self, path: SafePath) -> None:
        super().__init__(str(path))
        self.path = path


_DIRECTORY: Final = -2
_SIXTY_BITS: Final = (1 << 60) - 1
NEIGHBOURS: Final = 64  # directories that parallel nodes write to in turn


@define
class Claims:
    """Which final names are taken in a run, so that no artifact replaces another.

    A place is free, a directory, or the file of one artifact. Whoever comes second to a taken place gets a name of its
    own, ``stem~<digest of its identity>.ext``; a directory that finds a file in its place becomes ``name~<digest of its
    path>``, so that what belongs together stays together. The same claims in the same order give the same names.

    A million names are remembered, so places and identities are kept as 60 bits of their hash (Python's: SipHash with a
    key of this process) in a table that takes some 30 bytes for each (`aiocircle.download.table`). Two names with one
    hash would cost one of them a suffix; an artifact would be taken for a repetition only if its name and its identity
    both collided with those of another one.

    Attributes:
        fold: Names that differ in letter case or Unicode normalisation only are one name to the file system.
    """

    fold: bool = field(default=False, kw_only=True)
    _holders: NumberTable = field(factory=NumberTable, init=False, repr=False)
    _entered: set[tuple[str, ...]] = field(factory=set, init=False, repr=False)  # neighbours come together
    _keeps: bool = field(default=False, init=False, repr=False)

    def keep(self, placed: PlacedPath, identity: str) -> None:
        """Keep a name for an artifact of an earlier run, until it is claimed by what tells it from those."""
        self._keeps = True
        self.claim(placed, identity)

    def claim(
        self, placed: PlacedPath, identity: str, earlier: str | None = None, seed: str | None = None
    ) -> PlacedPath:
        """Take a name for an artifact.

        Args:
            placed: Where it wants to go.
            identity: What tells the artifact from every other one.
            earlier: What tells it from those of earlier runs; it takes over the name that was kept under this.
            seed: What another name is made from, the same each time it is listed; by default the identity.

        Returns:
            The name it got: the wanted one, or another one with a note that says what stood in the way.

        Raises:
            DuplicateClaim: It holds that name already.
            UnsafePathError: The other name is beyond the limits of file systems.
        """
        owner = _number(identity)
        if self._keeps and earlier is not None:
            kept = self._place(placed.path.parts)
            if self._holders.get(kept) == _number(earlier):
                self._holders[kept] = owner
                return placed
        parent, directories, note = self._enter(placed.path.parent)
        name, place, obstacle = self._seat(parent, placed.path.name, owner, seed or identity)
        path = placed.path if not (note or obstacle) else SafePath((*parent, name))
        if self._holders.get(place) == owner:
            raise DuplicateClaim(path)
        for directory in directories:
            self._holders[directory] = _DIRECTORY
        self._holders[place] = owner
        return PlacedPath(path, joined_notes(placed.note, note, obstacle)) if note or obstacle else placed

    def _enter(self, wanted: tuple[str, ...]) -> tuple[tuple[str, ...], list[int], str | None]:
        """Return the directories to use for the wanted ones, their places, and a note."""
        if wanted in self._entered or not wanted:
            return wanted, [], None
        if self._holders.get(self._place(wanted)) == _DIRECTORY:
            if len(self._entered) >= NEIGHBOURS:
                self._entered.clear()
            self._entered.add(wanted)
            return wanted, [], None
        entered: tuple[str, ...] = ()
        places, notes = [], []
        for component in wanted:
            seed = "/".join((*entered, component))
            name, place, obstacle = self._seat(entered, component, _DIRECTORY, seed)
            entered = (*entered, name)
            places.append(place)
            notes.append(obstacle)
        return entered, places, joined_notes(*notes)

    def _seat(self, parent: tuple[str, ...], wanted: str, owner: int, seed: str) -> tuple[str, int, str | None]:
        """Return the first name that is free or held by the owner itself, its place, and what held the wanted one."""
        obstacle = None
        for name in _alternatives(wanted, seed):
            place = self._place((*parent, name))
            holder = self._holders.get(place)
            if holder is None or holder == owner:
                return name, place, obstacle
            obstacle = obstacle or self._obstacle((*parent, wanted), holder)
        raise AssertionError  # pragma: no cover -- the alternatives are endless

    def _obstacle(self, parts: tuple[str, ...], holder: int) -> str:
        who = "a directory" if holder == _DIRECTORY else "another artifact"
        how = " (letter case and Unicode form aside)" if self.fold else ""
        return f"{_shown('/'.join(parts))} is taken by {who}{how}"

    def _place(self, parts: tuple[str, ...]) -> int:
        text = "/".join(parts)
        return _number(_folded(text, "NFD") if self.fold else text)


def _alternatives(wanted: str, seed: str) -> Iterator[str]:
    yield wanted
    mark = seed
    while True:
        mark = hashlib.sha256(mark.encode("utf-8", "surrogatepass")).hexdigest()
        yield _marked(wanted, mark[:8])


def _number(text: str) -> int:
    return hash(text) & _SIXTY_BITS
