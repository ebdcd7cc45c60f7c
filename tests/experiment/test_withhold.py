"""An experiment with a secret in it is written without, and read back with it."""

from __future__ import annotations

import pytest

from primus.experiment import dump, load
from primus.experiment.withhold import withhold

FILE = """\
modules:
  pre_trainer:
    framework: megatron
    overrides:
      lr: 1e-3
      data_path: https://${HOST:host}/x
      %s
"""
HF = "hf_" + "aB3" * 10


@pytest.fixture
def written(tmp_path):
    """The effective experiment's text, what the workers read from it, and the variables that they get."""

    def write(line, sets=(), **environ):
        (tmp_path / "a.yaml").write_text(FILE % line)
        experiment = load(tmp_path / "a.yaml", sets=sets, environ=environ)
        plain = withhold(experiment, environ)
        (tmp_path / "effective.yaml").write_text(dump(plain))
        read = load(tmp_path / "effective.yaml", environ={**environ, **plain.secrets})
        assert read.plain() == experiment.plain()
        return dump(plain), plain.secrets

    return write


def test_without_secrets_nothing_changes(written, tmp_path):
    text, secrets = written("tokenizer_model: ${NAME:org/name}", NAME="a/${b}")
    assert text == dump(load(tmp_path / "a.yaml", environ={"NAME": "a/${b}"}))
    assert secrets == {}


def test_a_secret_from_a_variable_stays_a_reference_to_it(written):
    text, secrets = written("tokenizer_model: https://x/?t=${HF_TOKEN}&a=$${b}", HF_TOKEN="abcdefgh12")
    assert 'tokenizer_model: "https://x/?t=${HF_TOKEN}&a=$${b}"' in text
    assert "abcdefgh12" not in text
    assert secrets == {"HF_TOKEN": "abcdefgh12"}


def test_a_variable_with_the_shape_of_a_secret_is_one(written):
    assert 'tokenizer_model: "${MINE}"' in written("tokenizer_model: ${MINE}", MINE=HF)[0]


@pytest.mark.parametrize(
    ("line", "sets", "secret"),
    [
        ("mlflow_tracking_uri: https://me:pw12345@host/x", (), "pw12345"),
        ("wandb_api_key: abc", (), "abc"),
        ("lr_decay_iters: 1", (f"tokenizer_model={HF}",), HF),
        (f"valid_data_path: [a, {HF}]", (), HF),
    ],
)
def test_a_secret_that_is_written_out_goes_by_a_variable_of_its_own(written, line, sets, secret):
    text, secrets = written(line, sets)
    assert f": {secret}" not in text
    assert [name.startswith("PRIMUS_SECRET_") for name in secrets] == [True]
    assert secret in next(iter(secrets.values()))
