"""XML bodies of S3: read from clients and origins without trusting them, and written.

Reading goes through defusedxml: no document type, no entities, nothing external (https://docs.python.org/3/library/xml.html,
"XML vulnerabilities"). Namespaces are dropped: clients send S3's, another's or none, and S3 takes all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]  # it ships no types
from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]  # the same

from addon.s3.errors import S3Error

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

Node = tuple[str, "str | int | Sequence[Node]"]
"""An element: its name (attributes may stand behind it, after a space), and its text or its children in order."""

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def parse_xml(body: bytes, *, root: str) -> Element:
    """The root element of a client's document, names without namespaces. Raises MalformedXML for anything but a `root` document."""
    try:
        element = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        # ValueError and LookupError: an encoding that is not there, or one that expat does not take.
        raise malformed_xml() from None
    assert isinstance(element, Element)  # noqa: S101 -- defusedxml gives the standard library's
    for one in element.iter():
        one.tag = one.tag.rpartition("}")[2]
    if element.tag != root:
        raise malformed_xml()
    return element


def only_text(element: Element, name: str) -> str | None:
    """The text of the only child `name`, None where there is none. Raises MalformedXML where it stands twice or has children."""
    found = element.findall(name)
    if not found:
        return None
    if len(found) > 1 or len(found[0]):
        raise malformed_xml()
    return found[0].text or ""


def malformed_xml() -> S3Error:
    """The refusal of a document that cannot be understood."""
    return S3Error(
        "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema"
    )


def document(root: str, children: str | Sequence[Node], *, namespace: str = NAMESPACE) -> bytes:
    """A whole document with S3's namespace (empty: none); its root holds text or children."""
    attribute = f' xmlns="{namespace}"' if namespace else ""
    text = xml_text(children) if isinstance(children, str) else "".join(_rendered(children))
    return f"{_DECLARATION}<{root}{attribute}>{text}</{root}>".encode()


def xml_text(text: str) -> str:
    """`text` as character data. Control characters become references, as S3 writes them, though XML 1.0 has no place for most."""
    escaped = escape(text)
    return _CONTROL.sub(lambda found: f"&#x{ord(found[0]):x};", escaped) if _CONTROL.search(escaped) else escaped


def _rendered(nodes: Sequence[Node]) -> Iterator[str]:
    for name, content in nodes:
        if isinstance(content, str | int):
            yield f"<{name}>{xml_text(str(content))}</{name}>"
        else:
            yield f"<{name}>"
            yield from _rendered(content)
            yield f"</{name.partition(' ')[0]}>"
