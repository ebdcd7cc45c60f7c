"""The HIP runtime's bindings, against the stand-in and, where Debian's package is installed, the real one."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from primus.errors import ExitStatus, MissingError
from primus.tuning.hip import Hip, HipError, HipStatus
from primus.tuning.hip_find import find_library, folders, load_library

GENUINE = Path("/usr/lib/x86_64-linux-gnu/libamdhip64.so.5")


@pytest.fixture
def hip(rocm: Path) -> Hip:
    return Hip.load(rocm / "lib")


def test_properties_come_from_the_struct_of_rocm_6(hip: Hip, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STANDIN_CUS", "256")
    monkeypatch.setenv("STANDIN_ARCH", "gfx950:sramecc+:xnack-")
    properties = hip.properties(1)
    assert (properties.arch, properties.compute_units) == ("gfx950:sramecc+:xnack-", 256)
    assert properties.name == "AMD Instinct MI300X"
    assert properties.pci_bus == "0000:13:00.0"


@pytest.mark.parametrize(
    ("environ", "buses"),
    [
        ({}, ["03", "13", "23", "33"]),
        ({"HIP_VISIBLE_DEVICES": "2,0"}, ["23", "03"]),
        ({"ROCR_VISIBLE_DEVICES": "1,3", "HIP_VISIBLE_DEVICES": "1"}, ["33"]),
        ({"HIP_VISIBLE_DEVICES": "1,9,2"}, ["13"]),
    ],
)
def test_visible_devices_are_chosen_as_rocm_does(
    hip: Hip, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], buses: list[str]
):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert [hip.pci_bus(number) for number in range(hip.device_count())] == [f"0000:{bus}:00.0" for bus in buses]


def test_no_device_is_an_error_with_a_remedy(hip: Hip, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "")
    with pytest.raises(HipError, match=r"hipGetDeviceCount: hipErrorNoDevice \(100\).*HIP_VISIBLE_DEVICES") as caught:
        hip.device_count()
    assert caught.value.code == HipStatus.NO_DEVICE
    assert caught.value.status is ExitStatus.MISSING


def test_memory_goes_there_and_back(hip: Hip):
    with hip.malloc(16) as buffer:
        hip.fill(buffer, 7)
        hip.upload(buffer.at(4), b"abcd")
        hip.copy(buffer.at(8), buffer.at(4), 4)
        assert hip.download(buffer.pointer, 16) == b"\7\7\7\7abcdabcd\7\7\7\7"


def test_memory_beyond_the_device_is_refused(hip: Hip):
    free, total = hip.memory_info()
    with pytest.raises(HipError, match="hipErrorOutOfMemory"):
        hip.malloc(total + 1)
    with hip.malloc(1 << 20):
        assert hip.memory_info()[0] == free - (1 << 20)
    assert hip.memory_info()[0] == free


def test_everything_is_given_back_also_after_an_error(client, tmp_path: Path):
    leaks = tmp_path / "leaks"
    code = "with stack:\n    hip.malloc(5)\n    hip.event()\n    hip.malloc(1 << 60)"
    assert "hipErrorOutOfMemory" in client(code, STANDIN_LEAKS=str(leaks)).stderr
    assert leaks.read_text() == "5 0 1\n", "the two that nobody closes, and nothing else"


def test_time_passes_only_with_kernels(hip: Hip):
    with hip.stream() as stream, hip.event() as start, hip.event() as stop:
        hip.record(start, stream)
        hip._library.fake_hip_advance(ctypes.c_double(1500))
        hip.record(stop, stream)
        assert hip.elapsed_ms(start, stop) == pytest.approx(1.5)


def test_the_first_error_is_not_hidden_by_one_of_giving_back(hip: Hip, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STANDIN_HIP_ERRORS", "hipMemset:1:700;hipFree:1:719")
    with pytest.raises(HipError) as caught, hip.malloc(8) as buffer:
        hip.fill(buffer, 0)
    assert caught.value.code == HipStatus.ILLEGAL_ADDRESS


def test_rocm_path_is_searched(rocm: Path, tmp_path: Path):
    assert find_library("hipblaslt", environ={"ROCM_PATH": str(rocm)}) == rocm / "lib" / "libhipblaslt.so"
    assert find_library("hipblaslt", environ={"ROCM_PATH": str(tmp_path)}) is None


def test_what_training_loads_is_found_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for folder in ("torch", "_rocm_sdk_libraries_gfx94X_dcgpu/lib", "rocm/lib"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "torch" / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    places = list(folders({"ROCM_PATH": str(tmp_path / "rocm")}))
    assert places[:3] == [tmp_path / "torch" / "lib", tmp_path / "rocm" / "lib", Path("/opt/rocm/lib")]
    assert tmp_path / "_rocm_sdk_libraries_gfx94X_dcgpu" / "lib" in places


def test_numbered_names_do_where_the_plain_one_is_missing(tmp_path: Path):
    (tmp_path / "libhipblaslt.so.1").touch()
    (tmp_path / "libhipblaslt.so.0").touch()
    assert find_library("hipblaslt", tmp_path) == tmp_path / "libhipblaslt.so.1"


def test_a_missing_library_names_the_places(tmp_path: Path):
    with pytest.raises(MissingError, match=f"libhipblaslt.so is not on this machine.*{tmp_path}/lib.*ROCM_PATH"):
        load_library("hipblaslt", environ={"ROCM_PATH": str(tmp_path)})


def test_a_folder_that_was_named_must_have_it(tmp_path: Path):
    with pytest.raises(MissingError, match=r"no libamdhip64\.so there"):
        load_library("amdhip64", tmp_path)


def test_what_is_no_library_is_said_so(tmp_path: Path):
    (tmp_path / "libhipblaslt.so").write_text("not a library")
    with pytest.raises(MissingError, match=r"libhipblaslt\.so can't be loaded"):
        load_library("hipblaslt", tmp_path)


@pytest.mark.skipif(
    not Path("/usr/lib/x86_64-linux-gnu/libamdhip64.so.5").exists(), reason="no libamdhip64-5 of Debian"
)
@pytest.mark.skipif(Path("/dev/kfd").exists(), reason="this machine has AMD GPUs")
def test_a_genuine_runtime_without_a_gpu_says_so():
    code = (
        "from pathlib import Path; from primus.tuning.hip import Hip\n"
        f"hip = Hip.load(Path('{GENUINE}'))\n"
        "print(hip.runtime_version())\n"
        "hip.device_count()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("502")
    assert "HipError: hipGetDeviceCount: hipErrorNoDevice (100)" in done.stderr
