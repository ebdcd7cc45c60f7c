"""What Megatron-LM keeps in global variables."""

ARGS = []


def get_args():
    return ARGS[-1]
