from primus.snippet import run_snippet


def test_what_it_prints_and_its_status_come_back():
    done = run_snippet("import os; print(os.environ['X']); raise SystemExit(3)", environ={"X": "y"}, seconds=60)

    assert done is not None
    assert (done.stdout, done.returncode) == ("y\n", 3)


def test_one_that_takes_too_long_is_ended():
    assert run_snippet("import time; time.sleep(60)", environ={}, seconds=0.2) is None
