"""`python -m primus`."""

from primus.cli import run

if __name__ == "__main__":
    run()
