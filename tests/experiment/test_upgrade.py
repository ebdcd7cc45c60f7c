import contextlib
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from primus.errors import ExperimentError, PrimusError
from primus.experiment import Answer, Key, Schema, check, load, resolve
from primus.experiment.upgrade import framework_of, upgrade

NAMES = ["training.local_batch_size", "training.steps", "compile.enable", "quantize.float8.fqns", "quantize.float8.on",
         "model.assets", "metrics.all_ranks", "debug.seed"]  # fmt: skip
RENAMED = {
    "training.batch_size": "training.local_batch_size",
    "training.compile": "compile.enable",
    "training.seed": "debug.seed",
    "training.fqns": "quantize.float8.fqns",
    "model.tokenizer": "model.assets",
    "float8": "quantize.float8",
}
SCHEMA = Schema(
    backend="small",
    version="1",
    keys={name: Key(name=name, types=("int", "bool", "str", "list", "none")) for name in NAMES},
    answers={
        **{old: Answer(action="renamed", message="m", to=new) for old, new in RENAMED.items()},
        "metrics.rank_0": Answer(
            action="renamed", message="m", to="metrics.all_ranks", values=((True, False), (False, True))
        ),
        "turbo": Answer(action="warn", message="m"),
    },
)


@pytest.fixture
def upgraded(write):
    def upgraded(text: str, name: str = "job.toml") -> str:
        return upgrade(write(name, text), SCHEMA).text

    return upgraded


def test_a_key_renamed_within_its_section_changes_in_place(upgraded):
    text = "# mine\n[training]\nbatch_size = 8  # per GPU\n\nsteps=1\n"
    assert upgraded(text) == "# mine\n[training]\nlocal_batch_size = 8  # per GPU\n\nsteps=1\n"


def test_a_key_of_another_section_moves_there_with_its_comments(upgraded):
    text = """\
        [training]
        steps = 1
        # speed,
        # they say
        compile = true # fast
        [compile]
        # nothing yet
        """
    assert (
        upgraded(text)
        == "[training]\nsteps = 1\n[compile]\n# speed,\n# they say\nenable = true # fast\n# nothing yet\n"
    )


def test_a_section_that_is_not_there_is_made_at_the_end(upgraded):
    assert upgraded("[training]\ncompile = true\nsteps = 1") == "[training]\nsteps = 1\n\n[compile]\nenable = true\n"


def test_a_section_whose_keys_all_move_together_gets_its_new_name(upgraded):
    text = "[float8] # 8 bits\nfqns = [\n  'a', # first\n]\non = true\n[training]\nsteps = 1\n"
    assert upgraded(text) == text.replace("[float8]", "[quantize.float8]")


def test_a_key_of_elsewhere_moves_into_a_section_that_gets_a_new_name(upgraded):
    text = '[training]\nsteps = 1\nfqns = ["a"]  # not these\n\n[float8]\non = true\n'
    expected = '[training]\nsteps = 1\n\n[quantize.float8]\non = true\nfqns = ["a"]  # not these\n'
    assert upgraded(text) == expected


def test_a_section_that_ends_up_empty_is_removed(upgraded):
    text = "[float8]\non = true\n[quantize.float8]\nfqns = []\n"
    assert upgraded(text) == "[quantize.float8]\nfqns = []\non = true\n"


def test_a_value_that_changes_its_meaning_is_rewritten(upgraded):
    assert upgraded("[metrics]\nrank_0 = true # c\n") == "[metrics]\nall_ranks = false # c\n"
    assert upgraded("metrics: {rank_0: true} # c\n", "p.yaml") == "metrics: {all_ranks: false} # c\n"


def test_yaml_moves_with_its_comments_and_indentation(upgraded):
    text = """\
        modules:
          pre_trainer:
            framework: torchtitan
            overrides:
                # about training
                training:
                    batch_size: 8   # per GPU
                    # speed
                    compile: true

                    steps: 10
                float8:
                    fqns:
                    - a
                    - b  # last
                    on: |
                      text
                model: {tokenizer: x}
        """
    expected = """\
modules:
  pre_trainer:
    framework: torchtitan
    overrides:
        # about training
        training:
            local_batch_size: 8   # per GPU

            steps: 10
        model: {assets: x}
        compile:
          # speed
          enable: true
        quantize:
          float8:
            fqns:
            - a
            - b  # last
            on: |
              text
"""
    assert upgraded(text, "x.yaml") == expected


def test_a_preset_has_its_keys_at_the_top(upgraded):
    assert (
        upgraded("bases: b.yaml\ntraining:\n  compile: true\n", "p.yaml") == "bases: b.yaml\ncompile:\n  enable: true\n"
    )


def test_variables_stay_as_they_are_written(upgraded):
    assert upgraded('[training]\nbatch_size = "${B:8}"\n') == '[training]\nlocal_batch_size = "${B:8}"\n'
    assert upgraded("training: {batch_size: '${NOT_SET}'}", "p.yaml") == "training: {local_batch_size: '${NOT_SET}'}\n"


def test_everything_else_stays_as_it_is(upgraded):
    text = "a:   [1,\n  2]   # odd\n\n\n'b': \"x\"\nturbo: 1\n"
    assert upgraded(text, "p.yaml") == text


def test_windows_line_ends_stay(here):
    (here / "j.toml").write_bytes(b"[training]\r\nbatch_size = 8\r\nsteps = 1\r\n")
    assert upgrade(Path("j.toml"), SCHEMA).text == "[training]\r\nlocal_batch_size = 8\r\nsteps = 1\r\n"


@given(
    st.text(alphabet="abc:-[]{}&*!|>'\"#,=.\n ", max_size=40)
    | st.lists(
        st.sampled_from(
            ["training", ".", ": ", "batch_size", "compile", "\n", "  ", "[", "]", "=", "1", "{", "}", "#c", "'"]
        ),
        max_size=16,
    ).map("".join),
    st.sampled_from([".toml", ".yaml"]),
)
def test_any_text_is_upgraded_or_refused(tmp_path_factory, text, suffix):
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_text(text)
    with contextlib.suppress(PrimusError):
        new = upgrade(path, SCHEMA)
        assert new.notes or new.text == text


def test_what_moved_is_noted_with_its_line(write):
    notes = upgrade(write("job.toml", "[training]\nbatch_size = 8\n[metrics]\nrank_0 = true\n"), SCHEMA).notes
    assert [str(note) for note in notes] == [
        "job.toml:2: training.batch_size: now training.local_batch_size",
        "job.toml:4: metrics.rank_0: now metrics.all_ranks: false",
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("j.toml", "training = {compile = true}\n", "j.toml:1: training.compile is now compile.enable, but stands in "
         "an inline table; change it by hand"),
        ("p.yaml", "training: {compile: true}\n", "p.yaml:1: training.compile is now compile.enable, but stands within "
         "braces; change it by hand"),
        ("p.yaml", "compile: {}\ntraining:\n  compile: true\n", "training.compile goes into compile, which is not an "
         "indented section; change it by hand"),
        ("p.yaml", "a: &a {batch_size: 1}\ntraining: {<<: *a}\n", "comes from an anchor; change it by hand"),
        ("j.toml", "[training]\nbatch_size = 1\nlocal_batch_size = 2\n", "j.toml:2: training.batch_size: is now "
         "training.local_batch_size, which is given as well (j.toml:3); keep one of them"),
        ("p.yaml", "metrics: {rank_0: '${R:true}'}\n", "p.yaml:1: metrics.rank_0: is now metrics.all_ranks, with other "
         "values; they come from a variable here. Change it by hand."),
        ("j.toml", "a = \n", "j.toml:1: not valid TOML"),
        ("j.toml", "compile.x = 1\n[training]\ncompile = true\n", "change it by hand"),
    ],
)  # fmt: skip
def test_what_can_not_be_moved_safely_is_an_error(upgraded, name, text, message):
    with pytest.raises(ExperimentError) as caught:
        upgraded(text, name)
    assert message in str(caught.value)


def test_the_file_is_not_touched(write):
    path = write("job.toml", "[training]\nbatch_size = 8\n")
    upgrade(path, SCHEMA)
    assert path.read_text() == "[training]\nbatch_size = 8\n"


def test_the_framework_is_read_from_the_file(write):
    assert framework_of(write("j.toml", "[training]\n")) == "torchtitan"
    assert framework_of(write("x.yaml", "modules: {pre_trainer: {framework: megatron}}")) == "megatron"
    assert framework_of(write("x.yaml", "modules: {pre_trainer: {}}")) is None
    assert framework_of(write("p.yaml", "lr: 1")) is None


OLD = [
    "training.batch_size",
    "training.compile",
    "training.seed",
    "model.tokenizer",
    "float8.on",
    "float8.fqns",
    "metrics.rank_0",
]


@settings(max_examples=60)
@given(
    keys=st.sets(st.sampled_from([*OLD, "training.steps", "quantize.float8.fqns", "debug.seed"]), min_size=1),
    suffix=st.sampled_from([".toml", ".yaml"]),
    gaps=st.lists(st.sampled_from(["", "\n", "# note\n"]), min_size=20, max_size=20),
)
def test_an_upgraded_file_means_the_same_and_has_nothing_left_to_upgrade(tmp_path_factory, keys, suffix, gaps):
    assume(not keys >= {"float8.fqns", "quantize.float8.fqns"} and not keys >= {"training.seed", "debug.seed"})
    folder: Path = tmp_path_factory.mktemp("upgrade", numbered=True)
    path, new = folder / f"x{suffix}", folder / f"new{suffix}"
    path.write_text(document(sorted(keys), suffix, gaps))
    new.write_text(upgrade(path, SCHEMA).text)
    before, after = load(path, environ={}), load(new, environ={})
    assert check(after, SCHEMA) == []
    assert resolve(before, SCHEMA)[0].plain() == resolve(after, SCHEMA)[0].plain()
    assert new.read_text().count("# note") == path.read_text().count("# note")


def document(keys: list[str], suffix: str, gaps: list[str]) -> str:
    sections: dict[str, list[str]] = {}
    for key in keys:
        section, _, name = key.rpartition(".")
        sections.setdefault(section, []).append(name)
    lines = []
    for number, (section, names) in enumerate(sections.items()):
        if suffix == ".toml":
            lines += [f"[{section}]\n", *(f"{gaps[number]}{name} = true # c\n" for name in names)]
        else:
            margin = ""
            for part in section.split("."):
                lines.append(f"      {margin}{part}:\n")
                margin += "  "
            lines += [f"{gaps[number]}      {margin}{name}: true # c\n" for name in names]
    head = "modules:\n  pre_trainer:\n    framework: small\n    overrides:\n" if suffix == ".yaml" else ""
    return head + "".join(lines)
