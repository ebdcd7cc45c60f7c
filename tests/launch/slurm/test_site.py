"""The defaults of a site."""

from __future__ import annotations

import pytest

from primus.errors import MissingError, UsageError
from primus.launch.slurm.site import settle


@pytest.fixture
def site(tmp_path):
    """Writes a site's file and returns the environment that names it."""

    def write(text):
        (tmp_path / "site.toml").write_text(text)
        return {"PRIMUS_SLURM_CONFIG": str(tmp_path / "site.toml"), "TEAM": "vision"}

    return write


def test_without_a_file_of_its_own_a_site_has_the_shipped_defaults(tmp_path):
    options, origins = settle({}, {}, {"HOME": str(tmp_path)})
    assert options.exclusive
    assert origins["exclusive"].endswith("slurm.toml:6 exclusive")


def test_the_file_in_the_home_is_found(tmp_path):
    (tmp_path / ".config/primus").mkdir(parents=True)
    (tmp_path / ".config/primus/slurm.toml").write_text('partition = "night"\n')
    assert settle({}, {}, {"HOME": str(tmp_path)})[0].partition == "night"


def test_the_file_of_the_site_wins_over_the_shipped_one_and_the_option_over_both(site):
    environ = site('exclusive = false\naccount = "${TEAM}"\ntime = "1:00"\nsbatch_args = ["--switches=1"]\n')
    options, origins = settle({"time": "2:00"}, {"time": "--time"}, environ)
    assert not options.exclusive
    assert options.account == "vision"
    assert options.time == "2:00"
    assert options.sbatch_args == ("--switches=1",)
    assert origins["time"] == "--time"
    assert origins["account"].endswith("site.toml:2 account")


def test_a_switch_that_is_turned_off_stays_off(site):
    assert not settle({"exclusive": False}, {}, site("exclusive = true\n"))[0].exclusive


def test_all_problems_of_a_file_are_told(site):
    with pytest.raises(UsageError) as caught:
        settle({}, {}, site('partiton = "x"\ncpus_per_task = "8"\n[more]\na = 1\n'))
    lines = str(caught.value).splitlines()
    assert "partiton: unknown option. Did you mean partition?" in lines[1]
    assert "site.toml:2: cpus_per_task = '8': expected a number" in lines[2]
    assert "[more]: expected NAME = VALUE" in lines[0]


def test_a_file_that_is_named_must_be_there():
    with pytest.raises(MissingError, match=r"PRIMUS_SLURM_CONFIG: there is no file /no/where"):
        settle({}, {}, {"PRIMUS_SLURM_CONFIG": "/no/where.toml"})
