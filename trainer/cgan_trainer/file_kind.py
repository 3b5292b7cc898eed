"""What a file is that is no checkpoint, in words."""

from __future__ import annotations

__all__ = ["describe_file"]


def describe_file(head: bytes) -> str:
    """From the first bytes of a file: "a web page (a failed download)" and the like."""
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "a web page (a failed download)"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer (fetch the file itself with git lfs pull)"
    if head.startswith(b"\x80"):
        return "a bare pickle, which could run code when opened,"
    if b"\0" not in head and start.isascii():
        return "a text file"
    return "a file of another kind"
