from primus.table import table


def test_columns_are_as_wide_as_their_widest_cell_and_lines_have_no_blanks_at_their_end():
    text = table(("name", "size", "note"), [("a", "7", ""), ("longer", "1,234", "x")], right={1})

    assert text == "name     size  note\na           7\nlonger  1,234  x"


def test_a_table_without_rows_is_its_header():
    assert table(("name", "size"), []) == "name  size"
