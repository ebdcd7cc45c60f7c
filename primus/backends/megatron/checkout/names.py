"""Names that the backend and its workers agree on when a Megatron-LM checkout trains."""

VARIABLE = "MEGATRON_PATH"
SCRIPT = "pretrain_gpt.py"

ARGUMENTS = "pretrain_gpt.args"
"""In the run directory: the arguments of the script, one option per line, quoted as for a shell."""
