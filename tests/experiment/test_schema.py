from primus.experiment import Answer, Key, read_schema, write_schema
from primus.experiment.schema import Schema


def test_a_schema_comes_back_as_it_was_written(tmp_path, schema):
    write_schema(tmp_path / "schema.json", schema)
    assert read_schema(tmp_path / "schema.json") == schema


def test_there_is_one_line_per_key_with_only_what_is_not_the_default(tmp_path):
    keys = {"lr": Key(name="lr", types=("float",), default=0.0, help="Größe", exclusive_minimum=True, minimum=0)}
    write_schema(tmp_path / "schema.json", Schema(backend="b", version="1", keys=keys))
    assert (tmp_path / "schema.json").read_text(encoding="utf-8") == (
        '{\n "backend": "b",\n "version": "1",\n "keys": {\n'
        '  "lr": {"types": ["float"], "default": 0.0, "help": "Größe", "minimum": 0, "exclusive_minimum": true}\n'
        " }\n}\n"
    )


def test_answers_may_stand_in_a_second_file(tmp_path, schema):
    write_schema(tmp_path / "schema.json", schema)
    (tmp_path / "answers.json").write_text('{"old": {"action": "warn", "message": "m", "harmless": [null]}}')
    read = read_schema(tmp_path / "schema.json", tmp_path / "answers.json")
    assert read.answers["old"] == Answer(action="warn", message="m", harmless=(None,))
    assert read.answers["lora"] == schema.answers["lora"]
