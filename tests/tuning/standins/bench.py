"""A hipblaslt-bench without a GPU: the real one's grammar, defaults, exit statuses, output and tuning files.

install.py makes an executable of it. Which solutions a problem has and how long they take is in kernels.py. Controls,
all in the environment:
    STANDIN_BENCH           H24, H25 (default) or L26: the options that it knows
    STANDIN_COLUMNS         37, 42 (default) or 43 columns in its rows
    STANDIN_REVISION        git revision of its library
    STANDIN_ARCH, _CUS, _DEVICES, _SEED, _NOISE, _SOLUTIONS
    STANDIN_FAILURES        `MxNxK:kind;...` or @FILE: none, segv, abort, hang, oom, partial, single, slow, gone, silent
    STANDIN_SECONDS         how long a run takes: a number, or @FILE with lines `MxNxK seconds`
    STANDIN_DIRECTORY       gets `runs` (a line per start and end) and locks: two runs at a time on one GPU are an error
    STANDIN_WRITE_GAP       seconds between the two writes of a row
"""

import os
import sys
import time

import kernels

EXIT_BAD_OPTION = 255
REAL_TYPES = ["f32_r", "f64_r", "f16_r", "bf16_r", "f8_r", "bf8_r", "i8_r", "i32_r"]
NEW_TYPES = ["f8_fnuz_r", "bf8_fnuz_r", "f6_r", "bf6_r", "f4_r", "f32_c", "f64_c"]
SHORT_TYPES = {"s": "f32_r", "d": "f64_r", "h": "f16_r"}
COMPUTE = ["f32_r", "xf32_r", "f64_r", "i32_r", "f32_f16_r", "f32_bf16_r"]
SHORT_COMPUTE = {"s": "f32_r", "x": "xf32_r", "d": "f64_r", "i": "i32_r"}

# name, kind, default; a kind in capitals may be repeated
OPTIONS_H24 = (
    ("sizem", "SIZE", 128),
    ("sizen", "SIZE", 128),
    ("sizek", "SIZE", 128),
    *((f"ld{name}", "SIZE", 0) for name in "abcde"),
    *((f"stride_{name}", "SIZE", 0) for name in "abcde"),
    ("any_stride", "flag", 0),
    ("alpha", "float", 1.0),
    ("beta", "float", 0.0),
    ("function", "word", "matmul"),
    ("precision", "type", "f16_r"),
    *((f"{name}_type", "type", "") for name in "abcd"),
    ("compute_type", "compute", "f32_r"),
    ("compute_input_typeA", "type", ""),
    ("compute_input_typeB", "type", ""),
    ("scale_type", "type", ""),
    ("initialization", "word", "hpl"),
    ("transA", "word", "N"),
    ("transB", "word", "N"),
    ("batch_count", "int", 1),
    ("HMM", "flag", 0),
    ("verify", "flag", 0),
    ("iters", "int", 10),
    ("cold_iters", "int", 2),
    ("algo_method", "word", "heuristic"),
    ("solution_index", "int", -1),
    ("requested_solution", "int", 1),
    ("activation_type", "word", "none"),
    ("activation_arg1", "float", 0.0),
    ("activation_arg2", "float", float("inf")),
    ("bias_type", "type", ""),
    ("bias_source", "word", "d"),
    ("bias_vector", "flag", 0),
    ("scaleA", "scale", 0),
    ("scaleB", "scale", 0),
    ("scaleAlpha_vector", "flag", 0),
    ("amaxScaleA", "flag", 0),
    ("amaxScaleB", "flag", 0),
    ("amaxD", "flag", 0),
    ("use_e", "flag", 0),
    ("gradient", "flag", 0),
    ("grouped_gemm", "flag", 0),
    ("use_user_args", "flag", 0),
    ("device", "int", 0),
    ("c_equal_d", "flag", 0),
    ("workspace", "int", 0),
    ("log_function_name", "flag", 0),
    ("function_filter", "word", ""),
    ("api_method", "word", "c"),
    ("print_kernel_info", "flag", 0),
    ("rotating", "int", 0),
    ("use_gpu_timer", "flag", 0),
    ("splitk", "SIZE", 0),
    ("wgm", "SIZE", 0),
    ("flush", "flag", 0),
    ("help", "flag", 0),
    ("version", "flag", 0),
)
OPTIONS_H25 = (
    ("swizzleA", "flag", 0),
    ("swizzleB", "flag", 0),
    ("scaleC", "int", 0),
    ("scaleD", "int", 0),
    ("aux_type", "type", ""),
    ("skip_slow_solution_ratio", "float", 0.0),
    ("dump_matrix", "flag", 0),
)
OPTIONS_L26 = (
    ("alphai", "float", 0.0),
    ("betai", "float", 0.0),
    ("batch_mode", "int", 0),
    ("bias_stride", "int", 0),
    ("sm_count_target", "int", 0),
)
LETTERS = {
    "m": "sizem", "n": "sizen", "k": "sizek", "f": "function", "r": "precision", "v": "verify", "i": "iters",
    "j": "cold_iters", "h": "help",
}  # fmt: skip
TUNING_DEFAULTS = {"iters": 1000, "cold_iters": 1000, "requested_solution": -1, "rotating": 512, "flush": 1}

COLUMNS_42 = [
    "transA", "transB", "grouped_gemm", "batch_count", "m", "n", "k", "alpha", "lda", "stride_a", "beta", "ldb",
    "stride_b", "ldc", "stride_c", "ldd", "stride_d", "a_type", "b_type", "c_type", "d_type", "compute_type",
    "scaleA", "scaleB", "scaleC", "scaleD", "amaxD", "swizzle_a", "swizzle_b", "activation_type", "bias_vector",
    "bias_type", "aux_type", "rotating_buffer", "flush", "use_gpu_timer", "hipblaslt-Gflops", "hipblaslt-GB/s",
    "us",
]  # fmt: skip
NOT_IN_37 = {"swizzle_a", "swizzle_b", "aux_type", "flush", "use_gpu_timer"}

EPILOGUES = {  # activation, bias, use_e, gradient
    ("none", 0, 0, 0): 1, ("relu", 0, 0, 0): 2, ("none", 1, 0, 0): 4, ("relu", 1, 0, 0): 6, ("gelu", 0, 0, 0): 32,
    ("gelu", 1, 0, 0): 36, ("gelu", 0, 1, 0): 160, ("gelu", 1, 1, 0): 164, ("gelu", 0, 1, 1): 192,
    ("gelu", 1, 1, 1): 208, ("swish", 0, 0, 0): 65536, ("swish", 1, 0, 0): 65540, ("sigmoid", 0, 0, 0): 1024,
    ("clamp", 0, 0, 0): 131072, ("clamp", 1, 0, 0): 131076, ("relu", 0, 1, 0): 130, ("relu", 1, 1, 0): 134,
    ("relu", 0, 1, 1): 136, ("relu", 1, 1, 1): 152,
}  # fmt: skip


class Stop(Exception):
    """Ends the run with an exit status."""


def env(name, default):
    return os.environ.get(f"STANDIN_{name}", default)


def generation():
    return env("BENCH", "H25")


def say(text=""):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def stop(status, message):
    sys.stderr.write(message + "\n")
    raise Stop(status)


# -- devices


def visible_devices():
    """The GPUs that the process sees: ROCR_VISIBLE_DEVICES chooses first, HIP_VISIBLE_DEVICES among those."""
    devices = list(range(int(env("DEVICES", "4"))))
    for name in ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        if name in os.environ:
            chosen = []
            for word in os.environ[name].split(","):
                if not word.isdigit() or int(word) >= len(devices):
                    break
                chosen.append(devices[int(word)])
            devices = chosen
    directory = env("DIRECTORY", "")
    return [one for one in devices if not (directory and os.path.exists(f"{directory}/gone-{one}"))]


def take(device):
    """Hold a GPU until this process ends, however it does."""
    import fcntl

    directory = env("DIRECTORY", "")
    if not directory:
        return
    lock = os.open(f"{directory}/gpu-{device}", os.O_WRONLY | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        note(f"TWO ON ONE {device}")
        stop(99, f"two runs at a time on GPU {device}")


def note(text):
    directory = env("DIRECTORY", "")
    if directory:
        with open(f"{directory}/runs", "a") as file:
            file.write(f"{time.monotonic():.6f} {text}\n")


# -- options


def options():
    known = OPTIONS_H24
    if generation() != "H24":
        known += OPTIONS_H25
    if generation() == "L26":
        known += OPTIONS_L26
    return {name: (kind, default) for name, kind, default in known}


def parse(argv, tuning):
    known = options()
    values = {name: ([] if kind.isupper() else default) for name, (kind, default) in known.items()}
    if tuning:
        values.update(TUNING_DEFAULTS)
    if generation() != "H24":
        values["workspace"] = max_workspace(tuning)
    words = iter(argv)
    for word in words:
        name = option_name(word)
        if name == "batch":
            sys.stderr.write("--batch is deprecated, use --batch_count\n")
            name = "batch_count"
        if name not in known:
            stop(EXIT_BAD_OPTION, f"Option {word} is not defined.")
        kind = known[name][0]
        if kind == "flag":
            values[name] = 1
            continue
        text = next(words, None)
        if text is None:
            stop(EXIT_BAD_OPTION, f"Option {word} needs a value.")
        value = convert(word, kind, text)
        if kind.isupper():
            values[name].append(value)
        else:
            values[name] = value
    return values


def option_name(word):
    """One letter takes one dash, a longer name two; there is no --name=value."""
    if word.startswith("--") and len(word) > 3:
        return word[2:]
    if word.startswith("-") and len(word) == 2:
        return LETTERS.get(word[1:], "")
    return ""


def convert(word, kind, text):
    if kind in ("int", "SIZE"):
        return scan(word, text, "+-0123456789", int)
    if kind == "float":
        return scan(word, text, "+-0123456789.eEinfINF", float)
    if kind == "type":
        text = SHORT_TYPES.get(text, text)
        if text not in REAL_TYPES and (generation() == "H24" or text not in NEW_TYPES) and text != "default":
            stop(EXIT_BAD_OPTION, f"Invalid value for {word}: {text}")
        return "" if text == "default" else text
    if kind == "compute":
        text = SHORT_COMPUTE.get(text, text)
        if text not in COMPUTE:
            stop(EXIT_BAD_OPTION, f"Invalid value for {word}: {text}")
        return text
    if kind == "scale":
        if generation() == "H24":
            if text not in ("s", "v"):
                stop(EXIT_BAD_OPTION, f"Invalid value for {word}: {text}")
            return " sv".index(text)
        code = scan(word, text, "+-0123456789", int)
        if code not in (*range(9 if generation() == "L26" else 4), 1001):
            stop(EXIT_BAD_OPTION, f"Invalid value for {word}: {text}")
        return code
    return text


def scan(word, text, letters, number):
    """As sscanf does: what follows a number is not looked at."""
    end = 0
    while end < len(text) and text[end] in letters:
        end += 1
    while end:
        try:
            return number(text[:end])
        except ValueError:
            end -= 1
    return stop(EXIT_BAD_OPTION, f"Invalid value for {word}: {text}")


def max_workspace(tuning):
    """Of a tuning run, in bytes, through a 32 bit atoi."""
    text = os.environ.get("HIPBLASLT_TUNING_USER_MAX_WORKSPACE") if tuning else None
    if text is None:
        return 128 << 20
    value = int(text) & 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


# -- the problem


def problem_of(values):
    if generation() == "L26" and values["c_type"] != values["d_type"]:
        stop(EXIT_BAD_OPTION, "c_type must be equal to d_type")
    if values["api_method"] == "c" and (values["splitk"] or values["wgm"]):
        stop(1, "splitk and wgm need api_method mix or cpp")
    a_type = values["a_type"] or values["precision"]
    types = {f"{name}_type": values[f"{name}_type"] or values["precision"] for name in "bcd"}
    problem = {"transA": values["transA"], "transB": values["transB"], "a_type": a_type, **types}
    if (values.get("swizzleA") or values.get("swizzleB")) and (
        (problem["transA"], problem["transB"]) != ("T", "N") or a_type not in ("f16_r", "bf16_r", "f8_r", "f8_fnuz_r")
    ):
        stop(1, "swizzle needs transA T, transB N and a type of 8 or 16 bits")
    if "gfx942" in arch() and a_type in ("f8_r", "bf8_r"):
        sys.stderr.write(f"{a_type} is converted to the FNUZ type of gfx942\n")
    for name in "mnk":
        problem[name] = first(values[f"size{name}"], 128)
    flags = (values["activation_type"], values["bias_vector"], values["use_e"], values["gradient"])
    epilogue = EPILOGUES.get(flags, 1)
    if values["gradient"] and values["bias_vector"] and not values["use_e"]:
        epilogue = {"a": 256, "b": 512}.get(values["bias_source"], 1)
    problem["epilogue"] = epilogue + (1 << 20 if values["grouped_gemm"] else 0)
    problem["batch_count"] = values["batch_count"]
    problem["compute_type"] = values["compute_type"]
    for name in ("scaleA", "scaleB"):
        problem[name] = values[name]
    return problem


def first(given, default):
    return given[0] if given else default


def dimensions(values, problem):
    """Leading dimensions and strides, raised to the least that is legal."""
    m, n, k = problem["m"], problem["n"], problem["k"]
    shapes = {
        "a": (m, k) if problem["transA"] == "N" else (k, m),
        "b": (k, n) if problem["transB"] == "N" else (n, k),
        "c": (m, n),
        "d": (m, n),
    }
    found = {}
    for name, (rows, columns) in shapes.items():
        leading = max(first(values[f"ld{name}"], 0), rows)
        stride = first(values[f"stride_{name}"], 0)
        found[f"ld{name}"] = leading
        found[f"stride_{name}"] = stride if values["any_stride"] else max(stride, leading * columns)
    return found


def row_of(values, problem, us):
    work = 2.0 * problem["m"] * problem["n"] * problem["k"] * problem["batch_count"]
    moved = 2.0 * (problem["m"] * problem["k"] + problem["k"] * problem["n"] + problem["m"] * problem["n"])
    return {
        **problem,
        **dimensions(values, problem),
        "grouped_gemm": values["grouped_gemm"],
        "alpha": values["alpha"],
        "beta": values["beta"],
        "scaleC": values.get("scaleC", 0),
        "scaleD": values.get("scaleD", 0),
        "amaxD": values["amaxD"],
        "swizzle_a": values.get("swizzleA", 0),
        "swizzle_b": values.get("swizzleB", 0),
        "activation_type": values["activation_type"],
        "bias_vector": values["bias_vector"],
        "bias_type": values["bias_type"] or problem["d_type"],
        "aux_type": values.get("aux_type") or problem["d_type"],
        "rotating_buffer": values["rotating"],
        "flush": values["flush"],
        "use_gpu_timer": values["use_gpu_timer"],
        "hipblaslt-Gflops": work / us / 1000,
        "hipblaslt-GB/s": moved / us / 1000,
        "us": us,
    }


def columns():
    return [name for name in COLUMNS_42 if env("COLUMNS", "42") != "37" or name not in NOT_IN_37]


def written(value):
    return f"{value:g}" if isinstance(value, float) else str(value)


# -- the tuning file


def check_tuning_file(path):
    """What happens before any option is looked at."""
    revision = env("REVISION", "fa9cdd18")
    try:
        with open(path) as file:
            text = file.readline().rstrip("\n")
    except FileNotFoundError:
        text = ""
    if not text:
        append(path, f"Git Version: {revision}\n")
        say("Initialize tuning file.")
        return
    found = text.partition("Git Version: ")[2]
    say(f"tuning file git version: {found}")
    if found != revision:
        say(f"The hipBLASLt git version {revision} and the tuning file git version {found} are not the same.")
        raise Stop(1)
    say("HIPBLASLT_TUNING_FILE is the correct setting.")


def append(path, text):
    """Like a C++ stream: what can't be written is lost without a word."""
    try:
        with open(path, "a") as file:
            file.write(text)
    except OSError:
        pass


def write_winner(path, row, index, partial):
    names = [*columns(), "solution_index", "gcnArchName", "CUs"]
    values = {**row, "solution_index": index, "gcnArchName": arch(), "CUs": env("CUS", "304")}
    if env("COLUMNS", "42") == "43":
        names.append("kernel_name")
        values["kernel_name"] = kernel_name(row, index)
    append(path, "    " + ",".join(names) + "\n")
    time.sleep(float(env("WRITE_GAP", "0")))
    line = "    " + ",".join(written(values[name]) for name in names) + "\n"
    if partial:
        append(path, line[: len(line) // 2])
        os.kill(os.getpid(), 9)
    append(path, line)


def arch():
    return env("ARCH", "gfx942:sramecc+:xnack-")


def kernel_name(problem, index):
    return f"Cijk_{problem['transA']}{problem['transB']}_{problem['a_type']}_MT256x256x64_{index}"


# -- the run


def run(argv):
    tuning_file = os.environ.get("HIPBLASLT_TUNING_FILE")
    devices = visible_devices()
    if not devices:
        sys.stderr.write(
            "terminate called after throwing an instance of 'std::runtime_error': no ROCm-capable device\n"
        )
        sys.stderr.flush()
        os.abort()
    if tuning_file is not None:
        check_tuning_file(tuning_file)
    values = parse(argv, tuning_file is not None)
    if values["help"]:
        say("Usage: hipblaslt-bench <options>")
        for name, (kind, default) in options().items():
            say(f"  --{name} <{kind.lower()}>  (default {default})")
        return
    if values["version"]:
        say(f"hipBLASLt version: {env('VERSION', '100201')}")
        return
    if values["device"] >= len(devices):
        stop(1, f"error: invalid device ordinal (101) at device {values['device']}")
    device = devices[values["device"]]
    take(device)
    problem = problem_of(values)
    shape = "{m}x{n}x{k}".format(**problem)
    note(f"start {device} {shape} {' '.join(argv)}")
    show_head(devices)
    plan = kernels.planned_failure(problem["m"], problem["n"], problem["k"])
    fail_as_planned(plan, device)
    time.sleep(duration(shape))
    measure(values, problem, tuning_file, plan)
    note(f"end {device} {shape}")


def show_head(devices):
    say(f"hipBLASLt version: {env('VERSION', '100201')}")
    say(f"hipBLASLt git version: {env('REVISION', 'fa9cdd18')}")
    say(f"Query device success: there are {len(devices)} devices")
    say("-" * 79)
    for number in range(len(devices)):
        say(f"Device ID {number} : AMD Instinct MI300X {arch()}")
        say("with 206.1 GB memory, max. SCLK 2100 MHz, max. MCLK 1300 MHz, compute capability 9.4")
        say("maxGridDimX 2147483647, sharedMemPerBlock 65.5 KB, maxThreadsPerBlock 1024, warpSize 64")
    say("-" * 79)
    say()


def fail_as_planned(plan, device):
    if plan == "none":
        stop(1, "error: NO solution found! at testing_matmul.hpp:2000")
    if plan == "silent":
        say("No Solution Found!!")
        raise Stop(0)
    if plan == "oom":
        stop(1, "error: out of memory (2) at device_vector.hpp:50")
    if plan == "status":
        stop(1, "hipBLASLt status error: Expected HIPBLAS_STATUS_SUCCESS, received HIPBLAS_STATUS_INTERNAL_ERROR")
    if plan == "abort":
        sys.stderr.write("Memory access fault by GPU node-1. Reason: Page not present.\n")
        sys.stderr.flush()
        os.abort()
    if plan == "segv":
        os.kill(os.getpid(), 11)
    while plan == "hang":
        time.sleep(1)
    if plan == "gone":
        if env("DIRECTORY", ""):
            with open(f"{env('DIRECTORY', '')}/gone-{device}", "w"):
                pass
        stop(1, "error: unspecified launch failure (719) at testing_matmul.hpp:2100")


def duration(shape):
    text = env("SECONDS", "0")
    if not text.startswith("@"):
        return float(text)
    with open(text[1:]) as file:
        for line in file:
            name, _, seconds = line.partition(" ")
            if name == shape:
                return float(seconds)
    return 0.0


def measure(values, problem, tuning_file, plan):
    chosen = solutions(values, problem, tuning_file is not None, plan)
    if not chosen:
        stop(1, "error: NO solution found! at testing_matmul.hpp:2000")
    say(f"Is supported {len(chosen)} / Total solutions: {len(chosen)}")
    single = len(chosen) == 1
    best = None
    least_warm_up = float("inf")
    ratio = values.get("skip_slow_solution_ratio", 0.0)
    for place, index in enumerate(chosen):
        us = noisy(kernels.time_us(problem, index), place) * (1000 if plan == "slow" else 1)
        if us * ratio > least_warm_up:
            warm = f"best warm-up = {least_warm_up:g} us , warm-up = {us:g} us, skip ratio = {ratio:g}"
            say(f"Skip solution: {place} ({warm})")
            continue
        least_warm_up = min(least_warm_up, us)
        row = row_of(values, problem, us)
        show(f"[{place}]:", row, index, values, with_index=single and tuning_file is not None)
        if best is None or us < best[1]["us"]:
            best = (index, row)
    index, row = best
    if not single:
        say("Winner: ")
        show("", row, index, values, with_index=tuning_file is not None)
    if tuning_file is not None:
        write_winner(tuning_file, row, index, plan == "partial")


def solutions(values, problem, tuning, plan):
    count = 1 if plan == "single" else None
    ranked = kernels.ranked(problem, values["workspace"], count=count)
    method = "heuristic" if tuning else values["algo_method"]
    if method == "index":
        return [values["solution_index"]] if values["solution_index"] in ranked else []
    if method == "all" or values["requested_solution"] == -1:
        return ranked
    return ranked[: values["requested_solution"]]


def noisy(us, place):
    noise = float(env("NOISE", "0"))
    if not noise:
        return us
    return us * (1 + noise * (kernels.hash_of(f"{time.monotonic_ns()},{place}") % 2001 / 1000 - 1))


def show(mark, row, index, values, with_index):
    names = columns() + (["solution_index"] if with_index else [])
    row = {**row, "solution_index": index}
    say(mark + ",".join(names))
    say("    " + ",".join(written(row[name]) for name in names))
    if values["print_kernel_info"]:
        say(f"    --Solution index: {index}")
        say(f"    --Solution name:  {kernel_name(row, index)}_solution")
        say(f"    --kernel name:    {kernel_name(row, index)}")


def main():
    status = 0
    try:
        run(sys.argv[1:])
    except Stop as end:
        status = end.args[0]
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
