"""Data sets that dipy fetches from their own servers."""

from pathlib import Path

from manifoldnet.data.dataset import Dataset
from manifoldnet.errors import InputError


def fetch_with_dipy(dataset: Dataset) -> Path:
    """The folder of dipy's cache ($DIPY_HOME or ~/.dipy) that holds the files of ``dataset``, fetched on first use.

    dipy holds every file to an md5 sum that it carries. The function of ``dipy.data`` is named after the data set.
    Raises InputError when dipy cannot fetch it, which it finds out after five tries in half a minute.
    """
    from dipy.data import fetcher

    try:
        _, folder = getattr(fetcher, f"fetch_{dataset.name.replace('-', '_')}")()
    except (fetcher.FetcherError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{dataset.name}: dipy cannot fetch it; is there a network? ({reason})") from None
    return Path(folder)
