"""The HIP runtime through ctypes: devices, memory, streams and events. measure.py times kernels with it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_void_p
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any

from primus.errors import ExitStatus, PrimusError
from primus.tuning.hip_find import load_library


class HipStatus(IntEnum):
    """hipError_t: those that tuning meets."""

    SUCCESS = 0
    INVALID_VALUE = 1
    OUT_OF_MEMORY = 2
    NOT_INITIALIZED = 3
    NO_DEVICE = 100
    INVALID_DEVICE = 101
    NOT_READY = 600
    ILLEGAL_ADDRESS = 700
    LAUNCH_FAILURE = 719
    UNKNOWN = 999


class CopyKind(IntEnum):
    """hipMemcpyKind."""

    HOST_TO_HOST = 0
    HOST_TO_DEVICE = 1
    DEVICE_TO_HOST = 2
    DEVICE_TO_DEVICE = 3
    DEFAULT = 4


class HipError(PrimusError):
    """A call of the HIP runtime that failed."""

    status = ExitStatus.MISSING

    def __init__(self, call: str, code: int, name: str, text: str) -> None:
        self.call, self.code, self.name = call, code, name
        super().__init__(f"{call}: {name} ({code}): {text}{REMEDIES.get(code, '')}")


REMEDIES: dict[int, str] = {
    HipStatus.NO_DEVICE: ". Is this machine's GPU visible (/dev/kfd, the render group, HIP_VISIBLE_DEVICES)?",
    HipStatus.INVALID_DEVICE: ". HIP_VISIBLE_DEVICES and ROCR_VISIBLE_DEVICES may hide it.",
    HipStatus.OUT_OF_MEMORY: ". Another process may hold the device's memory.",
}

_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "hipGetDeviceCount": (POINTER(c_int),),
    "hipSetDevice": (c_int,),
    "hipGetDevice": (POINTER(c_int),),
    "hipMalloc": (POINTER(c_void_p), c_size_t),
    "hipFree": (c_void_p,),
    "hipMemcpy": (c_void_p, c_void_p, c_size_t, c_int),
    "hipMemset": (c_void_p, c_int, c_size_t),
    "hipMemsetAsync": (c_void_p, c_int, c_size_t, c_void_p),
    "hipMemGetInfo": (POINTER(c_size_t), POINTER(c_size_t)),
    "hipStreamCreate": (POINTER(c_void_p),),
    "hipStreamDestroy": (c_void_p,),
    "hipStreamSynchronize": (c_void_p,),
    "hipDeviceSynchronize": (),
    "hipEventCreate": (POINTER(c_void_p),),
    "hipEventDestroy": (c_void_p,),
    "hipEventRecord": (c_void_p, c_void_p),
    "hipEventSynchronize": (c_void_p,),
    "hipEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
    "hipRuntimeGetVersion": (POINTER(c_int),),
    "hipDeviceGetPCIBusId": (c_char_p, c_int, c_int),
}

PROPERTIES_R0600 = "hipGetDevicePropertiesR0600"
"""Since ROCm 6. The plain name is the struct of before, whose fields lie elsewhere."""

_PROPERTIES_BYTES = 4096
"""More than the 1472 of today: it grows."""

_PCI_BUS_ID_BYTES = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceProperties:
    """What tuning needs to know of a GPU."""

    name: str
    arch: str
    """gcnArchName with its features, for instance `gfx942:sramecc+:xnack-`."""
    compute_units: int
    total_memory: int
    l2_cache: int
    """Bytes."""
    pci_bus: str


class DeviceObject:
    """A pointer that the runtime or hipBLASLt handed out; given back on leaving `with`, or by close()."""

    def __init__(self, pointer: c_void_p, release: Callable[[c_void_p], object]) -> None:
        self.pointer = pointer
        self._release = release

    def close(self) -> None:
        if self.pointer:
            pointer, self.pointer = self.pointer, c_void_p()
            self._release(pointer)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None:
            self.close()
            return
        # What led here is the news: on a device that faulted, giving back fails as well.
        try:
            self.close()
        except PrimusError as other:
            error.__context__ = other


class Buffer(DeviceObject):
    """Device memory."""

    def __init__(self, pointer: c_void_p, size: int, release: Callable[[c_void_p], object]) -> None:
        super().__init__(pointer, release)
        self.size = size

    def at(self, offset: int) -> c_void_p:
        return c_void_p((self.pointer.value or 0) + offset)


class Event(DeviceObject):
    """A mark in a stream."""


class Stream(DeviceObject):
    """A queue of work."""


class Hip:
    """The HIP runtime of this machine."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.hipGetErrorString.restype = c_char_p
        library.hipGetErrorName.restype = c_char_p
        for name, arguments in _SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, c_int

    @classmethod
    def load(cls, explicit: Path | None = None) -> Hip:
        return cls(load_library("amdhip64", explicit))

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function and raise HipError unless it succeeds."""
        code = getattr(self._library, name)(*arguments)
        if code != HipStatus.SUCCESS:
            raise HipError(name, code, self._text("hipGetErrorName", code), self._text("hipGetErrorString", code))

    def _text(self, function: str, code: int) -> str:
        text: bytes | None = getattr(self._library, function)(c_int(code))
        return text.decode(errors="replace") if text else "unknown error"

    # -- devices

    def runtime_version(self) -> int:
        value = c_int()
        self.call("hipRuntimeGetVersion", byref(value))
        return value.value

    def device_count(self) -> int:
        """How many GPUs this process sees; HipError NO_DEVICE when it sees none."""
        value = c_int()
        self.call("hipGetDeviceCount", byref(value))
        return value.value

    def set_device(self, device: int) -> None:
        self.call("hipSetDevice", device)

    def device(self) -> int:
        value = c_int()
        self.call("hipGetDevice", byref(value))
        return value.value

    def pci_bus(self, device: int) -> str:
        text = ctypes.create_string_buffer(_PCI_BUS_ID_BYTES)
        self.call("hipDeviceGetPCIBusId", text, _PCI_BUS_ID_BYTES, device)
        return text.value.decode()

    def properties(self, device: int) -> DeviceProperties:
        function = getattr(self._library, PROPERTIES_R0600, None)
        if function is None:
            raise HipError(
                PROPERTIES_R0600,
                HipStatus.INVALID_VALUE,
                "missing",
                "this HIP runtime is older than ROCm 6, which tuning needs",
            )
        function.argtypes, function.restype = (c_void_p, c_int), c_int
        raw = ctypes.create_string_buffer(_PROPERTIES_BYTES)
        self.call(PROPERTIES_R0600, raw, device)
        return DeviceProperties(
            name=_text(raw, 0, 256),
            arch=_text(raw, 1160, 256),
            compute_units=c_int.from_buffer(raw, 388).value,
            total_memory=c_size_t.from_buffer(raw, 288).value,
            l2_cache=c_int.from_buffer(raw, 616).value,
            pci_bus=self.pci_bus(device),
        )

    def memory_info(self) -> tuple[int, int]:
        """Free and total bytes of the current device."""
        free, total = c_size_t(), c_size_t()
        self.call("hipMemGetInfo", byref(free), byref(total))
        return free.value, total.value

    # -- memory

    def malloc(self, size: int) -> Buffer:
        pointer = c_void_p()
        self.call("hipMalloc", byref(pointer), max(size, 1))
        return Buffer(pointer, size, lambda one: self.call("hipFree", one))

    def upload(self, to: c_void_p, data: bytes | bytearray) -> None:
        self.call(
            "hipMemcpy", to, (ctypes.c_char * len(data)).from_buffer_copy(data), len(data), CopyKind.HOST_TO_DEVICE
        )

    def download(self, pointer: c_void_p, size: int) -> bytes:
        data = ctypes.create_string_buffer(size)
        self.call("hipMemcpy", data, pointer, size, CopyKind.DEVICE_TO_HOST)
        return data.raw

    def copy(self, to: c_void_p, source: c_void_p, size: int) -> None:
        self.call("hipMemcpy", to, source, size, CopyKind.DEVICE_TO_DEVICE)

    def fill(self, buffer: Buffer, value: int) -> None:
        self.call("hipMemset", buffer.pointer, value, buffer.size)

    def fill_later(self, buffer: Buffer, value: int, stream: Stream) -> None:
        """Queue the filling; the host goes on at once."""
        self.call("hipMemsetAsync", buffer.pointer, value, buffer.size, stream.pointer)

    # -- time

    def stream(self) -> Stream:
        pointer = c_void_p()
        self.call("hipStreamCreate", byref(pointer))
        return Stream(pointer, lambda one: self.call("hipStreamDestroy", one))

    def event(self) -> Event:
        pointer = c_void_p()
        self.call("hipEventCreate", byref(pointer))
        return Event(pointer, lambda one: self.call("hipEventDestroy", one))

    def record(self, event: Event, stream: Stream) -> None:
        self.call("hipEventRecord", event.pointer, stream.pointer)

    def elapsed_ms(self, start: Event, stop: Event) -> float:
        """Milliseconds between two events; waits for the second."""
        self.call("hipEventSynchronize", stop.pointer)
        value = c_float()
        self.call("hipEventElapsedTime", byref(value), start.pointer, stop.pointer)
        return value.value

    def wait(self, stream: Stream | None = None) -> None:
        """Until a stream, or the device, has done its work."""
        if stream is None:
            self.call("hipDeviceSynchronize")
        else:
            self.call("hipStreamSynchronize", stream.pointer)


def _text(raw: ctypes.Array[ctypes.c_char], offset: int, size: int) -> str:
    return raw.raw[offset : offset + size].partition(b"\0")[0].decode(errors="replace")
