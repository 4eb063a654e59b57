"""Safe names of folders and files for what DAP names freely.

The API document leaves job ids and file paths unspecified, so neither may decide where on the disk
something is written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_PLAIN_FILE = re.compile(r"[A-Za-z0-9_=%+@~-][A-Za-z0-9._=%+@~-]{0,199}")


def job_folder_name(job_id: str) -> str:
    """Name a job's folder as the official client does; an odd id is named by its digest."""
    if _PLAIN_ID.fullmatch(job_id):
        return f"job_{job_id}"
    return f"job_{_digest(job_id)}"


def file_names(urls: Sequence[str], suffix: str) -> list[str]:
    """Name the files of a job's objects as the official client does: by the end of the link's path.

    A name that is unusable or taken is replaced by the number of the object.
    """
    names: dict[str, str] = {}
    for index, url in enumerate(urls):
        name = urlsplit(url).path.rpartition("/")[2]
        # Some file systems take two names that differ by case only for one.
        if not _PLAIN_FILE.fullmatch(name) or name.lower() in names:
            name = f"part-{index:05d}-{_digest(name)[:8]}{suffix}"
        names[name.lower()] = name
    return list(names.values())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
