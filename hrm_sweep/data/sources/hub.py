"""Puzzles of a published set on the Hugging Face hub: a data set that holds train.csv and test.csv (csv_files.py).

Files come through huggingface_hub, which keeps them in its own cache, so a set is fetched once and then works offline.
HF_ENDPOINT names another hub. The newest revision is taken; a later one is not noticed once a folder has been built.
"""

from __future__ import annotations

import os
from pathlib import Path

from hrm_sweep.config import DataConfig
from hrm_sweep.data.generator import Progress
from hrm_sweep.data.sources.csv_files import puzzles_of_files
from hrm_sweep.data.sudoku import Puzzles
from hrm_sweep.errors import DataError

_FROM_FILES = (
    "fetch train.csv and test.csv elsewhere, then `hrm-sweep data sudoku --csv TRAIN TEST --output-dir DIR` builds a "
    "folder of them, which data_path=DIR takes (the preset hrm_v1_tiny needs no download)"
)
_OFFLINE_WAY = f"check the network and HF_ENDPOINT, or {_FROM_FILES}"
_ANSWER_TIMEOUT_S = 10


def from_hub(
    request: DataConfig,
    progress: Progress | None = None,
    *,
    endpoint: str | None = None,
    cache_dir: Path | None = None,
) -> tuple[Puzzles, Puzzles]:
    """Train and test puzzles of the set that a resolved request names.

    `endpoint` and `cache_dir` stand for what HF_ENDPOINT and the cache of huggingface_hub are by default. Raises
    DataError: huggingface_hub is not installed, the hub cannot be reached, there is no such set or no such file in it.
    """
    assert request.hub is not None
    endpoint = endpoint or os.environ.get("HF_ENDPOINT")
    train, test = (_fetched(request.hub, name, endpoint, cache_dir) for name in ("train.csv", "test.csv"))
    return puzzles_of_files(request, train, test)


def _fetched(repository: str, name: str, endpoint: str | None, cache_dir: Path | None) -> Path:
    try:
        # An extra of ours, and slow to import.
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError
    except ImportError:
        raise DataError(
            f"{repository}: fetching from the Hugging Face hub needs huggingface_hub; "
            f"install it with `pip install 'hrm-sweep[hub]'`, or {_FROM_FILES}"
        ) from None
    hub = endpoint or "the Hugging Face hub"
    unreachable: Exception | None = None
    try:
        url = hf_hub_url(repository, name, repo_type="dataset", endpoint=endpoint)
        try:
            get_hf_file_metadata(url, timeout=_ANSWER_TIMEOUT_S)
        except (EntryNotFoundError, RepositoryNotFoundError):
            raise
        except Exception as error:  # as many kinds as there are broken connections, proxies and hubs
            # hf_hub_download would repeat its own attempts for half a minute; what is in the cache is all that is left.
            unreachable = error
        fetched = hf_hub_download(
            repository,
            name,
            repo_type="dataset",
            endpoint=endpoint,
            cache_dir=cache_dir,
            local_files_only=unreachable is not None,
        )
        return Path(fetched)
    except LocalEntryNotFoundError as error:
        raise DataError(
            f"{repository}: {hub} cannot be reached, and {name} is not in the cache of huggingface_hub "
            f"({_first_line(unreachable or error)}); {_OFFLINE_WAY}"
        ) from None
    except RepositoryNotFoundError:
        raise DataError(
            f"{repository}: no such data set on {hub}, or it is not public; "
            "expected owner/name of one that holds train.csv and test.csv, like sapientinc/sudoku-extreme"
        ) from None
    except EntryNotFoundError:
        raise DataError(
            f"{repository}: no {name} in this data set on {hub}; expected train.csv and test.csv in the layout "
            "source,question,answer,rating"
        ) from None
    except ValueError as error:
        raise DataError(f"{repository}: expected a data set as owner/name ({_first_line(error)})") from None
    except Exception as error:  # a connection that breaks off, a full disk: as many kinds as huggingface_hub has
        raise DataError(
            f"{repository}: {name} could not be fetched from {hub} ({_first_line(error)}); {_OFFLINE_WAY}"
        ) from None


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
