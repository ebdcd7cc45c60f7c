import math

import pytest

from primus.experiment.scalar import format_float, resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1e-4", 1e-4),
        ("1.", 1.0),
        (".5", 0.5),
        ("-3.25e+2", -325.0),
        ("12", 12),
        ("-0", 0),
        ("+7", 7),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        (".inf", math.inf),
        ("-.INF", -math.inf),
    ],
)
def test_core_schema_scalars_have_their_yaml_1_2_value(text, value):
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    ["4:00:00", "yes", "no", "on", "off", "y", "NO", "1_000", "0b1", "017:1", "2024-01-01", "1e", "e5", ".", "-", "+",
     "1.2.3", "nan", "inf", "tRUE", "-0x1F", "0o8", "٣", "1e5x"],
)  # fmt: skip
def test_what_only_yaml_1_1_reads_specially_stays_text(text):
    assert resolve(text) == text


def test_nan_is_a_number():
    assert math.isnan(resolve(".nan"))


@pytest.mark.parametrize("text", ["9" * 5000, "1e999", "-1e999"])
def test_a_number_too_large_is_an_error_not_infinity(text):
    with pytest.raises(ValueError, match="too large"):
        resolve(text)


@pytest.mark.parametrize("number", [1e-5, 0.1, 1e16, 1.0, -0.0, 5e-324, math.inf, -math.inf])
def test_a_float_is_written_so_that_it_reads_back_exactly(number):
    assert resolve(format_float(number)) == number
    assert isinstance(resolve(format_float(number)), float)
