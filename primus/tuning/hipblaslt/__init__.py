"""hipBLASLt's C API through ctypes: abi.py has its numbers, structs.py its layouts, library.py the typed calls."""
