"""What of this machine a container sees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from primus.errors import UsageError
from primus.launch.container.mounts import PRIMUS, plan_mounts
from primus.launch.container.request import Mount


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def seen(project, *, folders=(), variables=None, values=None, extra=()):
    """Mounts besides Primus' own, as source and target."""
    made = plan_mounts(
        working_directory=project, folders=folders, variables=variables or {}, values=values or {}, extra=extra
    )
    return [mount for mount in made if not mount.target.startswith(PRIMUS)]


def same(*paths):
    return [Mount(source=str(path), target=str(path)) for path in sorted(paths)]


def test_the_project_is_mounted_at_its_own_path(project):
    assert seen(project) == same(project)


def test_a_run_folder_elsewhere_is_mounted_before_it_is_there(project, tmp_path):
    assert seen(project, folders=[tmp_path / "runs/me"]) == same(project, tmp_path / "runs/me")


def test_what_lies_in_a_mounted_folder_is_not_mounted_again(project, tmp_path):
    (tmp_path / "data/tokens").mkdir(parents=True)
    variables = {"DATA_PATH": str(tmp_path / "data"), "HF_HOME": str(tmp_path / "data/tokens")}
    assert seen(project, folders=[project / "output/me"], variables=variables) == same(project, tmp_path / "data")


def test_a_link_out_of_the_project_is_followed(project, tmp_path):
    (tmp_path / "big").mkdir()
    (project / "data").symlink_to(tmp_path / "big")
    assert seen(project, variables={"DATA_PATH": "./data"}) == same(project, tmp_path / "big")


@pytest.mark.parametrize(
    "value",
    ["{}/corpus", ["{}/corpus"], "0.3 {}/corpus 0.7 {}/corpus", ["0.3", "{}/corpus"], {"a": {"b": "{}/corpus"}}],
)
def test_the_experiments_own_data_is_found(project, tmp_path, value):
    data = tmp_path / "tokens"
    data.mkdir()
    (data / "corpus.bin").touch()
    filled = json.loads(json.dumps(value).replace("{}", str(data)))

    assert seen(project, values={"data_path": filled}) == same(project, data)


@pytest.mark.parametrize(
    "value", ["/dev/null", "/", "/usr", "meta-llama/Llama-2-7b", "hf://a/b", "/none/at/all", "a/" * 3000]
)
def test_values_that_are_no_data_here_are_left_alone(project, value):
    assert seen(project, values={"tokenizer_model": value}) == same(project)


def test_a_file_that_will_be_written_needs_its_folder(project, tmp_path):
    (tmp_path / "shapes").mkdir()
    variables = {"HIPBLASLT_LOG_FILE": str(tmp_path / "shapes/%i.log")}
    assert seen(project, variables=variables) == same(project, tmp_path / "shapes")


def test_the_users_mount_takes_the_place_of_ours(project):
    mine = Mount(source="/mnt/other", target=str(project), read_only=True)
    assert seen(project, extra=[mine]) == [mine]


def test_the_image_keeps_its_own_folders():
    with pytest.raises(UsageError, match="start primus from the project's folder"):
        seen(Path("/usr"))


def test_primus_and_its_libraries_are_read_only_and_apart(project):
    made = plan_mounts(working_directory=project, folders=(), variables={}, values={}, extra=())
    own = {mount.target: mount for mount in made if mount.target.startswith(PRIMUS)}
    assert {f"{PRIMUS}/primus", f"{PRIMUS}/configs", f"{PRIMUS}/lib/yaml"} <= own.keys()
    assert all(mount.read_only for mount in own.values())
