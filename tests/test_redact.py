"""Secrets are taken out of everything that is written down or printed."""

from __future__ import annotations

import pytest

from primus.redact import HIDDEN, is_secret_name, redact_argv, redact_environment, redact_text, redact_values


@pytest.mark.parametrize(
    "name",
    [
        *("HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "MLFLOW_TRACKING_PASSWORD"),
        *("GITHUB_TOKEN", "DB_PASS", "--api-key", "apiKey", "hub.authToken", "SENTRY_DSN", "MY_CREDENTIALS", "token"),
    ],
)
def test_a_name_of_a_secret_is_known(name):
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("PWD", "OLDPWD", "PATH", "TOKENIZERS_PARALLELISM", "tokenizer_type", "tokens_per_second", "pad_token"),
        *("moe_token_dispatcher_type", "KeyError", "keyboard", "num_tokens", "author", "bypass", "compass"),
    ],
)
def test_other_names_are_left_alone(name):
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "secret",
    [
        "hf_" + "aB3" * 10,
        "ghp_" + "a1" * 18,
        "github_pat_" + "a1_" * 10,
        "glpat-" + "x1" * 10,
        "sk-" + "proj" * 8,
        "xoxb-" + "1234567890-abc",
        "AKIA" + "ABCDEFGH12345678",
        "AIza" + "Sy0" * 12,
        "nvapi-" + "a1" * 15,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_a_secret_is_known_by_its_shape_wherever_it_stands(secret):
    assert redact_text(f"before '{secret}' after") == f"before '{HIDDEN}' after"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:pa55@host/path", f"https://{HIDDEN}@host/path"),
        ("git clone https://ghs@github.com/x", f"git clone https://{HIDDEN}@github.com/x"),
        ("Authorization: Bearer abcdef123456", f"Authorization: {HIDDEN} {HIDDEN}"),
        ("curl -H 'Bearer abcdef123456'", f"curl -H 'Bearer {HIDDEN}'"),
        ("https://host/x?token=abc&page=2", f"https://host/x?token={HIDDEN}&page=2"),
        ("password='with space' next", f"password={HIDDEN} next"),
        ("wandb_api_key: 0123456789abcdef", f"wandb_api_key: {HIDDEN}"),
        ("KeyError: 'lr'", "KeyError: 'lr'"),
        ("lr=1e-4 eos_token=</s>", "lr=1e-4 eos_token=</s>"),
        ("see https://pytorch.org/docs", "see https://pytorch.org/docs"),
    ],
)
def test_secrets_inside_text(text, shown):
    assert redact_text(text) == shown


def test_an_environment_keeps_its_names_and_harmless_values():
    environment = {"HF_TOKEN": "abc", "EMPTY_TOKEN": "", "HOME": "/home/u", "PROXY": "http://me:pw@proxy:3128"}
    assert redact_environment(environment) == {
        "EMPTY_TOKEN": "",
        "HF_TOKEN": HIDDEN,
        "HOME": "/home/u",
        "PROXY": f"http://{HIDDEN}@proxy:3128",
    }


def test_nested_values_lose_their_secrets_and_nothing_else():
    values = {"hf_token": "abc", "lr": 1e-4, "model": {"api_key": "xyz", "paths": ["https://me:pw@host/data", 3]}}
    assert redact_values(values) == {
        "hf_token": HIDDEN,
        "lr": 1e-4,
        "model": {"api_key": HIDDEN, "paths": [f"https://{HIDDEN}@host/data", 3]},
    }


def test_a_command_line_loses_the_values_of_secret_options():
    argv = ["primus", "train", "--token", "abc", "--api-key=xyz", "--set", "hf_token=abc", "--set", "lr=1e-4"]
    assert redact_argv(argv) == [
        *("primus", "train", "--token", HIDDEN, f"--api-key={HIDDEN}"),
        *("--set", f"hf_token={HIDDEN}", "--set", "lr=1e-4"),
    ]


def test_an_option_after_a_secret_switch_is_not_its_value():
    assert redact_argv(["x", "--ask-password", "--verbose"]) == ["x", "--ask-password", "--verbose"]
