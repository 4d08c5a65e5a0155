"""The background's control group, in folders that stand for Linux' hierarchies."""

from __future__ import annotations

from pathlib import Path

from ops.stack import background


def hierarchy(folder: Path, *files: str) -> Path:
    """A hierarchy whose group, which Linux would fill as it is made, has *files*."""
    (folder / background.NAME).mkdir(parents=True)
    (folder / "cgroup.procs").touch()
    for name in files:
        (folder / background.NAME / name).touch()
    return folder


def test_a_process_joins_a_group_that_is_idle(tmp_path: Path) -> None:
    version_2 = hierarchy(tmp_path / "2", "cpu.idle", "cgroup.procs")
    assert background.put(4711, (version_2,))
    group = version_2 / background.NAME
    assert {name: (group / name).read_text() for name in ("cpu.idle", "cgroup.procs")} == {
        "cpu.idle": "1",
        "cgroup.procs": "4711",
    }


def test_a_hierarchy_without_the_processor_is_passed_over(tmp_path: Path) -> None:
    without, version_1 = (
        hierarchy(tmp_path / "2", "cgroup.procs"),
        hierarchy(tmp_path / "1", "cpu.idle", "cgroup.procs"),
    )
    assert background.put(4711, (without, version_1))
    assert (without / background.NAME / "cgroup.procs").read_text() == ""
    assert (version_1 / background.NAME / "cgroup.procs").read_text() == "4711"


def test_a_folder_that_is_no_hierarchy_is_left_as_it_is(tmp_path: Path) -> None:
    assert not background.put(4711, (tmp_path,))
    assert not list(tmp_path.iterdir())


def test_an_empty_group_goes(tmp_path: Path) -> None:
    empty, used = hierarchy(tmp_path / "2"), hierarchy(tmp_path / "1", "cpu.idle")
    background.clear((empty, used))
    assert not (empty / background.NAME).exists()
    assert (used / background.NAME).exists()
