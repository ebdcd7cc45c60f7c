"""What the stand-ins of hipBLASLt and its bench agree on: which solutions a problem has, and how long each takes.

Everything comes from a hash of the problem (fake.h has the same one in C), so that tests can work out the winner.
"""

import os

MASK = (1 << 64) - 1
PEAK_FLOPS_PER_US = 400e6


def hash_of(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    h = ((h ^ (h >> 33)) * 0xFF51AFD7ED558CCD) & MASK
    h = ((h ^ (h >> 33)) * 0xC4CEB9FE1A85EC53) & MASK
    return h ^ (h >> 33)


def kind_of(problem):
    """What decides which solutions there are. `problem` has the names of the bench's columns, and `epilogue`."""
    return ",".join(
        str(problem[name])
        for name in (
            *("transA", "transB", "a_type", "b_type", "c_type", "d_type", "compute_type"),
            *("epilogue", "scaleA", "scaleB"),
        )
    )


def text_of(problem):
    return "{m},{n},{k},{batch_count},".format(**problem) + kind_of(problem)


def solutions(problem, arch=None, count=None):
    """Solution indices of a problem; their workspace goes by the place in this list."""
    arch = (arch or os.environ.get("STANDIN_ARCH", "gfx942:sramecc+:xnack-")).partition(":")[0]
    count = int(os.environ.get("STANDIN_SOLUTIONS", "12")) if count is None else count
    first = 1000 + hash_of(f"{kind_of(problem)},{arch}") % 500000
    return [first + 3 * place for place in range(count)]


def workspace(place):
    """Bytes that the solution at a place of the list needs; the third of four fits 128 MiB and not 64 MiB."""
    return (0, 16 << 20, 0, 96 << 20)[place % 4]


def time_us(problem, index, seed=None):
    """How long a solution takes: one to two times the problem's least."""
    seed = os.environ.get("STANDIN_SEED", "0") if seed is None else seed
    work = 2.0 * problem["m"] * problem["n"] * problem["k"] * problem["batch_count"]
    return max(2.0, work / PEAK_FLOPS_PER_US) * (1 + hash_of(f"{text_of(problem)},{index},{seed}") % 10000 / 10000)


def ranked(problem, max_workspace, arch=None, count=None, seed=None):
    """The library's order, its choice first: not that of the times, which is why tuning gains something."""
    seed = os.environ.get("STANDIN_SEED", "0") if seed is None else seed
    found = [index for place, index in enumerate(solutions(problem, arch, count)) if workspace(place) <= max_workspace]
    return sorted(found, key=lambda index: hash_of(f"{text_of(problem)},{index},{seed},rank"))


def planned_failure(m, n, k):
    """The failure that STANDIN_FAILURES (`MxNxK:kind;...`, or @FILE with that) plans for a shape, or None."""
    plan = os.environ.get("STANDIN_FAILURES", "")
    if plan.startswith("@"):
        with open(plan[1:]) as file:
            plan = file.read()
    for entry in plan.replace("\n", ";").split(";"):
        shape, _, kind = entry.strip().partition(":")
        if shape in (f"{m}x{n}x{k}", "*"):
            return kind
    return None
