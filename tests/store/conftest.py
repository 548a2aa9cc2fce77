"""Fixtures of the tests of the store: the whole product, as the tests of the object service have it."""

from __future__ import annotations

from tests.service.fixtures import moto, origin_server, product, quick_retries

__all__ = ["moto", "origin_server", "product", "quick_retries"]
