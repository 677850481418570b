import pytest

from manifoldnet.errors import InputError
from manifoldnet.files import all_written_whole, existing, written_whole


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_at_the_end(tmp_path):
    target = tmp_path / "out.txt"
    with written_whole(target) as scratch:
        assert scratch.name == "out.txt"
        scratch.write_text("half")
        assert not target.exists()
        scratch.write_text("whole")
    assert target.read_text() == "whole"
    assert names(tmp_path) == ["out.txt"]


def test_an_older_file_is_replaced_at_the_end_only(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("old")
    with written_whole(str(target)) as scratch:
        scratch.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_nothing_and_keeps_the_older_file(tmp_path, error):
    (tmp_path / "out.txt").write_text("old")

    def write():
        with all_written_whole([tmp_path / "out.txt", tmp_path / "more.txt"]) as (one, two):
            one.write_text("new")
            two.write_text("new")
            raise error

    with pytest.raises(error):
        write()
    assert names(tmp_path) == ["out.txt"]
    assert (tmp_path / "out.txt").read_text() == "old"


def test_several_files_appear_together_or_not_at_all(tmp_path):
    targets = [tmp_path / "a.txt", tmp_path / "b.txt"]
    with all_written_whole(targets) as scratches:
        for scratch in scratches:
            scratch.write_text(scratch.name)
            assert names(tmp_path) != ["a.txt"]
    assert [t.read_text() for t in targets] == ["a.txt", "b.txt"]
    assert names(tmp_path) == ["a.txt", "b.txt"]


def test_files_beside_the_main_one_travel_with_it(tmp_path):
    with written_whole(tmp_path / "image.bin") as scratch:
        scratch.write_bytes(b"1")
        scratch.with_suffix(".hdr").write_text("header")
    assert names(tmp_path) == ["image.bin", "image.hdr"]


def test_a_missing_folder_is_named_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.*does not exist"), written_whole(tmp_path / "nowhere" / "x"):
        pytest.fail("the body must not run")
    with (
        pytest.raises(InputError, match="nowhere"),
        all_written_whole([tmp_path / "fine.txt", tmp_path / "nowhere" / "x"]),
    ):
        pytest.fail("the body must not run")
    assert names(tmp_path) == []


def test_relative_paths_are_beside_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with written_whole("out.txt") as scratch:
        scratch.write_text("here")
    assert (tmp_path / "out.txt").read_text() == "here"


def test_scratch_files_are_on_the_disk_of_the_target(tmp_path):
    """Renames are atomic only there."""
    with written_whole(tmp_path / "out.txt") as scratch:
        scratch.write_text("x")
        assert scratch.stat().st_dev == tmp_path.stat().st_dev
        assert tmp_path in scratch.parents


def test_a_missing_input_is_named(tmp_path):
    here = tmp_path / "here.txt"
    here.write_text("x")
    assert existing(str(here)) == here
    with pytest.raises(InputError, match=r"there\.txt: no such scan"):
        existing(tmp_path / "there.txt", "scan")
    with pytest.raises(InputError, match="no such file"):
        existing(tmp_path)
    assert issubclass(InputError, ValueError)
