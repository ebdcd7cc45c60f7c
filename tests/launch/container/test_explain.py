"""Why a container did not start: the words of the runtimes are recorded ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from primus.job import Job, Resources
from primus.launch.container.explain import why_not_started
from primus.launch.container.host import Host, Runtime
from primus.launch.container.render import Container
from primus.launch.container.request import Request

NO_TOOLKIT = (
    'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]]',
    "Run 'docker run --help' for more information",
)
NO_MQUEUE = ("Error: statfs /dev/mqueue: no such file or directory",)
NO_PYTHON = (
    'Error: runc: runc create failed: unable to start container process: exec: "python3": executable file not found in '
    "$PATH: OCI runtime attempted to invoke a command that was not found",
)


def container(run_dir, name="docker"):
    job = Job(name="toy", backend="toy", module="toy", resources=Resources(), run_dir=Path(run_dir))
    return Container(
        job=job,
        request=Request(image="me/image"),
        runtime=Runtime(name=name, program=name),
        host=Host(uid=0, gid=0),
        image=None,
        name="primus-1",
        working_directory=Path("/project"),
        mounts=(),
        variables={},
        packages=(),
    )


@pytest.mark.parametrize(
    ("name", "status", "said", "first", "remedy"),
    [
        ("docker", 125, NO_TOOLKIT, "docker could not start the container (exit status 125", "nvidia-ctk runtime"),
        ("podman", 125, NO_MQUEUE, "podman could not start the container (exit status 125", "mount -t mqueue"),
        ("podman", 127, NO_PYTHON, "podman found no python3 in it (exit status 127", "must have python3 on its PATH"),
        ("apptainer", 255, (), "apptainer could not run the image (exit status 255", "image me/image"),
    ],
)
def test_a_runtime_that_fails_is_told_in_its_own_words_with_a_remedy(tmp_path, name, status, said, first, remedy):
    text = why_not_started(container(tmp_path, name), status, said)
    assert text.startswith(first)
    assert all(line in text for line in said)
    assert remedy in text


def test_a_status_of_training_is_none_of_the_runtimes(tmp_path):
    assert why_not_started(container(tmp_path), 1, ()) is None


def test_a_worker_may_leave_with_a_status_of_the_runtimes(tmp_path):
    made = container(tmp_path)
    made.notes.parent.mkdir(parents=True)
    made.notes.touch()  # the first process inside had begun
    assert why_not_started(made, 127, ()) is None
