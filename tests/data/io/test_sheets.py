import gzip

import pandas as pd
import pytest

from headwater.core.errors import UserError
from headwater.data.io.sheets import first_there, read_header, read_lines, read_sheet, refuse_other


def test_columns_are_found_by_name_in_any_spelling_and_order(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("\ufeffother, Sex ,id\n1, F ,007\n2,,\n", encoding="utf-8")
    sheet = read_sheet(file, columns={"case": ("id",), "sex": ("Gender", "Sex")})
    assert sheet.to_dict("list") == {"case": ["007", ""], "sex": ["F", ""]}


def test_rows_longer_than_the_header_do_not_shift(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("id,sex\na,F,\nb,M,\n")
    sheet = read_sheet(file, columns={"case": ("id",), "sex": ("sex",)})
    assert sheet.to_dict("list") == {"case": ["a", "b"], "sex": ["F", "M"]}


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        # a decimal comma in every row, in the first alone, and in another one; a cell that is not quoted
        ("a,30,0,F\nb,31,5,M\n", "line 2 has 4 cells, but the header has 3; quote cells"),
        ("a,30,0,F\nb,31,M\n", "line 2 has 4 cells"),
        ("a,30,F\n\nb,31,5,M\n", "line 4 has 4 cells"),
        ('a,"3\n0",F\nb,31,M, of 2\n', "line 4 has 4 cells"),
        ("a,30,F\nb,3", "line 3, the last, is cut off: 2 of 3 cells; fetch it again"),
    ],
)
def test_cells_that_would_shift_or_are_cut_off_are_refused(tmp_path, rows, wanted):
    file = tmp_path / "x.csv"
    for path, write in ((file, file.write_bytes), (tmp_path / "x.csv.gz", lambda text: packed(tmp_path, text))):
        write(f"id,age,sex\n{rows}".encode())
        for some in (None, 5):
            with pytest.raises(UserError, match=wanted):
                read_sheet(path, columns={"case": ("id",), "age": ("age",)}, rows=some)


def packed(folder, text):
    (folder / "x.csv.gz").write_bytes(gzip.compress(text))


def test_empty_cells_may_be_left_out_at_the_end_of_a_row(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("id,age,sex\na,30\nb\nc,31,F\nd,32\n")
    sheet = read_sheet(file, columns={"case": ("id",), "age": ("age",), "sex": ("sex",)})
    assert sheet.to_numpy().tolist() == [["a", "30", ""], ["b", "", ""], ["c", "31", "F"], ["d", "32", ""]]


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"", "not a readable CSV"),
        (b"\x89PNG\xff\xfe\x00", "not UTF-8 text (byte 0x89)"),
        (b"idd,b\n1,2\n", "did you mean 'idd'?"),
        (b"idd,c\n1,2\n", "its first line is not the expected header"),
        (b"id,b\n", "has a header but no rows"),
    ],
)
def test_a_broken_sheet_is_refused(tmp_path, content, wanted):
    file = tmp_path / "x.csv"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.csv") as refused:
        read_sheet(file, columns={"case": ("id",), "other": ("b",)})
    assert wanted in str(refused.value)


FORMS = {
    "semicolons": b"id;sex;note\n007;F;a, b\n008;M;\n",
    "tabs": b"id\tsex\tnote\n007\tF\ta, b\n008\tM\t\n",
    "quoted": b'"id","sex","note"\n"007","F","a, b"\n"008","M",""\n',
    "byte order mark": "id;sex;note\n007;F;a, b\n008;M;\n".encode("utf-8-sig"),
    "UTF-16": "id\tsex\tnote\n007\tF\ta, b\n008\tM\t\n".encode("utf-16"),
    "an empty last column": b'id,sex,note,\n007,F,"a, b",\n008,M,,\n',
    "empty rows at the end": b'id,sex,note\n007,F,"a, b"\n008,M,\n,,\n,,\n',
    "semicolons in a note": b'id,sex,note;remark\n007,F,"a, b"\n008,M,\n',
}


@pytest.mark.parametrize("form", FORMS)
def test_tables_are_read_as_spreadsheets_write_them(tmp_path, form):
    file = tmp_path / "x.csv"
    file.write_bytes(FORMS[form])
    sheet = read_sheet(file, columns={"case": ("id",), "sex": ("sex",), "note": ("note", "note;remark")})
    assert sheet.to_dict("list") == {"case": ["007", "008"], "sex": ["F", "M"], "note": ["a, b", ""]}
    assert read_header(file)[:2] == ["id", "sex"] and len(read_header(file)) == 3


def test_another_encoding_is_named(tmp_path):
    file = tmp_path / "x.csv"
    file.write_bytes("id,Herzvergrößerung\n1,0\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"x\.csv: is not UTF-8 text \(byte 0xf6\); save it as CSV UTF-8"):
        read_sheet(file, columns={"case": ("id",)})


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("id,Mass,Mass,age,age\n1,0,1,,\n")
    assert read_header(file) == ["id", "Mass", "Mass", "age", "age"]
    with pytest.raises(UserError, match="has 2 columns 'Mass'; rename or remove one of them"):
        read_sheet(file, columns={"case": ("id",), "label": ("Mass",)})
    assert len(read_sheet(file, columns={"case": ("id",)})) == 1


def test_a_column_that_may_be_absent_is_empty(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("id,sex\na,F\nb,\n")
    columns = {"age": ("Age",), "case": ("id",), "sex": ("Sex", "sex")}
    sheet = read_sheet(file, columns=columns, optional=["age", "sex"])
    assert sheet.to_dict("list") == {"age": ["", ""], "case": ["a", "b"], "sex": ["F", ""]}
    with pytest.raises(UserError, match="no column 'Age'"):
        read_sheet(file, columns=columns)


def test_a_compressed_sheet_is_read_and_one_that_is_cut_off_refused(tmp_path):
    file = tmp_path / "x.csv.gz"
    whole = gzip.compress("".join(f"{number},{number**9 + 1}\n" for number in range(3000)).encode())
    file.write_bytes(whole)
    assert len(read_sheet(file, columns={"case": ("0",)})) == 2999
    for broken in (whole[: len(whole) // 2], whole[:2000] + b"????" + whole[2004:], b"id\n1\n"):
        file.write_bytes(broken)
        with pytest.raises(UserError, match=r"x\.csv\.gz: is not a readable CSV"):
            read_sheet(file, columns={"case": ("0",)})


def test_the_first_name_that_is_there_is_taken(tmp_path):
    for name in ("b", "c"):
        (tmp_path / name).write_text("")
    assert first_there(tmp_path, names=["a", "b", "c"], remedy="fetch it") == tmp_path / "b"
    with pytest.raises(UserError, match="/x: is not there; fetch it"):
        first_there(tmp_path, names=["x", "y"], remedy="fetch it")


def test_a_word_that_is_not_known_is_refused_with_its_line(tmp_path):
    sheet = pd.DataFrame({"split": ["train", "tset"]})
    refuse_other(sheet, columns=["split"], known=["train", "test", "tset"], file=tmp_path / "x.csv")
    with pytest.raises(UserError, match=r"x\.csv: line 3 says 'tset' for 'split'; did you mean 'test'\?"):
        refuse_other(sheet, columns=["split"], known=["train", "test"], file=tmp_path / "x.csv")


def test_a_list_keeps_its_order_and_refuses_a_line_twice(tmp_path):
    file = tmp_path / "x.txt"
    file.write_text("b\r\n\r\n a \n")
    assert read_lines(file) == ["b", "a"]
    file.write_text("b\na\nb\n")
    with pytest.raises(UserError, match="b is listed more than once"):
        read_lines(file)
