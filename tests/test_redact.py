"""Secrets are taken out of everything that is written down or printed."""

from __future__ import annotations

import pytest

from primus.redact import (
    HIDDEN,
    is_secret_name,
    redact_argv,
    redact_environment,
    redact_log,
    redact_text,
    redact_values,
)


@pytest.mark.parametrize(
    "name",
    [
        *("HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "MLFLOW_TRACKING_PASSWORD"),
        *("GITHUB_TOKEN", "DB_PASS", "--api-key", "apiKey", "hub.authToken", "SENTRY_DSN", "MY_CREDENTIALS", "token"),
        *("PGPASSWORD", "SSHPASS", "LDAPPASSWORD", "APITOKEN"),
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
        "sk-" + "proj1" * 8,
        "xoxb-" + "1234567890-abc",
        "AKIA" + "ABCDEFGH12345678",
        "AIza" + "Sy0" * 12,
        "nvapi-" + "a1" * 15,
        "ya29." + "a0_x" * 10,
        "npm_" + "aB3" * 12,
        "dapi" + "0a1b2c3d" * 4,
        "pypi-AgEIcHlwaS5vcmc" + "aB3_" * 10,
        "hvs." + "CAESI" * 6,
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
        ("Authorization: Bearer abcdef123456", f"Authorization: {HIDDEN}"),
        ("curl -H 'Bearer abcdef123456'", f"curl -H 'Bearer {HIDDEN}'"),
        ("+ curl -sS -u me:pa55 https://host/x", f"+ curl -sS -u me:{HIDDEN} https://host/x"),
        ("curl --user='me:pa55' host -o x", f"curl --user='me:{HIDDEN}' host -o x"),
        ("https://host/x?token=abc&page=2", f"https://host/x?token={HIDDEN}&page=2"),
        ("password='with space' next", f"password={HIDDEN} next"),
        ("wandb_api_key: 0123456789abcdef", f"wandb_api_key: {HIDDEN}"),
        ("Authorization: ApiKey xyz1", f"Authorization: {HIDDEN}"),
        ("{'api_key': 'abc', 'n': 1}", f"{{'api_key': {HIDDEN}, 'n': 1}}"),
        ('{"auth": "dXNlcjpwYXNz"}', f'{{"auth": {HIDDEN}}}'),
        (r"{\"token\": \"abcd1234efgh\"}", rf"{{\"token\": {HIDDEN}}}"),
        ("AccountKey=abc/def==;EndpointSuffix=x", f"AccountKey={HIDDEN};EndpointSuffix=x"),
        ("https://x/?sv=1&sig=abc%3D&x=1", f"https://x/?sv=1&sig={HIDDEN}&x=1"),
        ("https://x/?X-Amz-Signature=abc", f"https://x/?X-Amz-Signature={HIDDEN}"),
        ("https://hooks.slack.com/services/T0/B0/x", f"https://hooks.slack.com/services/{HIDDEN}"),
        ("python x.py --hf-token abcd --lr 1", f"python x.py --hf-token {HIDDEN} --lr 1"),
        ("client-key-data: LS0tabc", f"client-key-data: {HIDDEN}"),
        ("machine api.wandb.ai login user password 0123", f"machine api.wandb.ai login user password {HIDDEN}"),
        ("mlflow at https://u:p@ss@host/x", f"mlflow at https://{HIDDEN}@host/x"),
        ("export MY_KEY=abc", f"export MY_KEY={HIDDEN}"),
        ("token: ab12cd34ef56", f"token: {HIDDEN}"),
        ("users:\n- user:\n    token: ab12cd34ef56", f"users:\n- user:\n    token: {HIDDEN}"),
    ],
)
def test_secrets_inside_text(text, shown):
    assert redact_text(text) == shown
    assert redact_log(f"first\n{text}\nlast".encode()) == f"first\n{shown}\nlast".encode()


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'lr'",
        "curl -u me https://host/x && npm_config_cache_folder_of_this_very_machine",
        "lr=1e-4 eos_token=</s>",
        "see https://pytorch.org/docs and http://localhost:29500",
        "step 3/9  loss 1.2  tokens/s 12,346  tokens_per_second: 12346.1",
        "key: value",
        "unknown key: did you mean lr?",
        "token: 5, max_token=5, per_token=1",
        "revision 0123456789abcdef0123456789abcdef01234567 of git@github.com:org/repo.git, ssh://git@github.com/x",
        "/home/u/secret_project/x.py:3: in forward_pass: 0.3 s",
        "Basic understanding of things, Bearer certificates",
        "no credentials: none found",
        "cache_key=(1, 2) sort_keys=True q_key: torch.bfloat16",
        "def f(token: str, key: int): pass",
        "moe_token_dispatcher_type: alltoall, pad_token: x",
        "from sk-learn-contrib-projects-main, risk-adjusted-scheduler-learning-2",
        "password=",
        "hf_token: ${HF_TOKEN}, token=$TOKEN, api_key=<your key>, password=None",
        "+    token = tokenizer.next(), self.api_key = os.environ['X'], secret=self.secret",
    ],
)
def test_ordinary_text_stays_as_it_is(text):
    assert redact_text(text) == text
    assert redact_log(text.encode()) == text.encode()


def test_the_value_of_a_secret_variable_is_found_again_anywhere(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123456789abcdef01234567")
    text = "cannot log in with 0123456789abcdef0123456789abcdef01234567!"
    assert redact_text(text) == f"cannot log in with {HIDDEN}!"
    assert redact_log(text.encode()) == f"cannot log in with {HIDDEN}!".encode()


@pytest.mark.parametrize(("name", "value"), [("X_KEY", "/home/u/.ssh/id_rsa"), ("X_PASSWORD", "loss"), ("X_TOKEN", "")])
def test_a_path_or_a_short_word_is_not_searched_for(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert redact_text(f"with {value} the loss") == f"with {value} the loss"


def test_a_key_in_a_json_string_is_hidden_to_its_end():
    text = '{"private_key": "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBg\\n-----END PRIVATE KEY-----\\n", "a": 1}'
    assert "MIIE" not in redact_text(text)
    assert '"a": 1' in redact_text(text)


def test_a_key_without_end_does_not_hide_the_text_up_to_the_next_key():
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\n-----END PRIVATE KEY-----"
    text = f"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nordinary text\n{key}\n"
    assert redact_text(text) == f"{HIDDEN}ordinary text\n{HIDDEN}\n"


def test_a_key_without_end_does_not_hide_the_text_behind_it():
    body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"
    text = f"+-----BEGIN RSA PRIVATE KEY-----\n+{body}\n+{body}\nordinary text behind it"
    shown = redact_text(text)
    assert body not in shown
    assert "ordinary text behind it" in shown


def test_bytes_that_are_no_text_survive():
    assert redact_log(b"\xff\xfe token=abc \x80\n") == b"\xff\xfe token=" + HIDDEN.encode() + b" \x80\n"


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


@pytest.mark.parametrize("assigned", ["hf_token=abc", "modules.pre_trainer.overrides.wandb_api_key=a=b"])
def test_an_option_written_together_with_an_assignment_loses_its_secret(assigned):
    name = assigned.partition("=")[0]
    assert redact_argv([f"--set={assigned}", "--set=lr=1e-4"]) == [f"--set={name}={HIDDEN}", "--set=lr=1e-4"]


def test_an_option_after_a_secret_switch_is_not_its_value():
    assert redact_argv(["x", "--ask-password", "--verbose"]) == ["x", "--ask-password", "--verbose"]


def test_secrets_are_found_in_lists_of_nested_data():
    nested = {"items": [{"env": {"HF_TOKEN": "x1", "LR": "1"}}, ["a", {"api_key": "x2"}]]}

    hidden = {"items": [{"env": {"HF_TOKEN": HIDDEN, "LR": "1"}}, ["a", {"api_key": HIDDEN}]]}
    assert redact_values(nested) == hidden
