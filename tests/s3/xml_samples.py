"""XML that tests of several bodies share."""

from __future__ import annotations

from hypothesis import strategies as st

xml_characters = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff") | (
    st.sampled_from("\t\n\r\x7f\x85&<>\"' ")
)
"""What XML 1.0 has a spelling for (W3C XML 1.0, production Char)."""

BILLION_LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE ROOT [<!ENTITY a0 "ha">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10))
    + b"]><ROOT>&a9;</ROOT>"
)
"""A document that grows to a thousand million words, where entities are followed; `ROOT` is to be replaced."""
