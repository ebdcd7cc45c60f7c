"""What is shown while shapes are tuned, and the queue that they come from."""

from __future__ import annotations

import io
import threading

import pytest

from primus.tuning.gemm import Gemm
from primus.tuning.measure_process import Failure
from primus.tuning.tune.gpus import Gpu
from primus.tuning.tune.journal import Entry
from primus.tuning.tune.progress import Progress
from primus.tuning.tune.tuner import in_order
from primus.tuning.tune.work_queue import Queue
from primus.tuning.tune.workers import Lost


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def gemm(m: int) -> Gemm:
    return Gemm.single(m=m, n=8, k=8, a_type="f32_r")


def failed(one: Gemm) -> Entry:
    answer = Failure(kind="no-solution", message="it has none")
    return Entry(gemm=one, answer=answer, calls=1, max_workspace=0, time_limit=1.0, seconds=0.0, gpu=3)


def test_a_log_gets_a_line_for_each_shape_with_the_time_that_is_left():
    stream, now = io.StringIO(), [0.0]
    gemms = [gemm(8), gemm(16), gemm(24)]
    progress = Progress(gemms, {}, stream=stream, clock=lambda: now[0])
    for one in gemms:
        now[0] += 60.0
        progress.told(failed(one))
    progress.tick()
    progress.close()
    assert stream.getvalue().splitlines() == [
        "[1/3] NN 8×8×8 f32_r: failed: it has none  GPU 3  ETA 2:00",
        "[2/3] NN 16×8×8 f32_r: failed: it has none  GPU 3  ETA 1:00",
        "[3/3] NN 24×8×8 f32_r: failed: it has none  GPU 3",
    ]


def test_a_terminal_has_a_live_line_that_goes_away():
    stream = Terminal()
    progress = Progress([gemm(8), gemm(16)], {"TERM": "xterm"}, stream=stream)
    progress.told(failed(gemm(8)))
    progress.tick()
    assert stream.getvalue().rpartition("\x1b[K")[2].startswith("1/2 shapes  1 failed")
    progress.close()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_a_lost_gpu_is_told_at_once():
    stream = io.StringIO()
    lost = Lost(
        gpu=Gpu(number=2, chosen="2"), gemm=gemm(8), failure=Failure(kind="device-fault", message="launch failure")
    )
    Progress([gemm(8)], {}, stream=stream).told(lost)
    assert stream.getvalue() == "Warning: GPU 2 is lost, and takes no more: NN 8×8×8 f32_r: launch failure\n"


def test_a_terminal_that_goes_away_does_not_end_the_tuning():
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    Progress([gemm(8)], {}, stream=Broken()).told(failed(gemm(8)))


def test_the_longest_shape_is_first_and_of_short_ones_the_heaviest():
    large, small, often = (Gemm.single(m=m, n=512, k=512, a_type="bf16_r") for m in (1 << 18, 64, 128))
    assert in_order([small, often, large], {large: 1, small: 10, often: 1000}) == [large, often, small]


def test_one_that_is_put_back_comes_after_all_others_and_keeps_the_queue_open():
    queue = Queue([gemm(8), gemm(16)])
    first, second = queue.take(), queue.take()
    got: list[Gemm | None] = []
    waiting = threading.Thread(target=lambda: got.append(queue.take()))
    waiting.start()
    queue.done()
    queue.put_back(gemm(8))
    waiting.join(10)
    queue.done()
    assert (first, second, got, queue.take()) == (gemm(8), gemm(16), [gemm(8)], None)


@pytest.mark.parametrize("waiting", [[], [gemm(8)]])
def test_a_closed_queue_gives_out_nothing(waiting: list[Gemm]):
    queue = Queue([gemm(16), *waiting])
    assert queue.take() == gemm(16)
    queue.close()
    assert queue.take() is None
