import gzip
import io
import zipfile

import numpy as np
import pandas as pd
import pytest

from headwater.core.errors import UserError
from headwater.data.io.sheets import (
    first_there,
    line_of,
    read_header,
    read_lines,
    read_sheet,
    refuse_empty,
    refuse_other,
)


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
        ('a,30,"of\ntwo"\nb,31,M, of 2\n', "line 4 has 4 cells"),
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


STRAY = {
    "a quote and a later one at the start of cells": ('a,"30,F,\nb,31,M,\nc,"32,F,\nd,33,M,\n', "lines 2 to 4 are"),
    "in the first column": ('a,30,F,\n"b,31,M,\nc,32,F,\n"d,33,M,\n', "lines 3 to 5 are"),
    "closed at the end of a cell": ('a,"30,F,\nb,31,M,\nc,32",F,\nd,33,M,\n', "lines 2 to 4 are"),
    "in a column that is not wanted": ('a,30,F,"x\nb,31,M,y\nc,32,F,z"\nd,33,M,\n', "lines 2 to 4 are"),
    "in neighbouring rows": ('a,30,F,"x\nb,31,M,"y\nc,32,F,z\n', "lines 2 to 3 are"),
    "closed behind a later column": ('a,"30,F,\nb,31,M,\nc,32,F"\nd,33,M,\n', "lines 2 to 4 are"),
    "closed behind a later column of the next row": ('a,30,"F,\nb,31,M,"\nd,33,M,\n', "lines 2 to 3 are"),
    "behind a blank line": ('\n\na,30,F,"x\nb,31,M,y"\nc,32,F,z\n', "lines 4 to 5 are"),
    "never closed": ('a,30,F,\nb,"31,M,\nc,32,F,\n', 'line 3 begins a row with a quote (") that nothing closes'),
    "never closed in the last line": ('a,30,F,\nb,"31,M,\n', "line 3 begins a row with a quote"),
    "never closed in a large table": ('a,"30,F,\n' + "b,31,M,\n" * 20_000, "line 2 begins a row with a quote"),
    "a line break in a wanted cell": ('a,"30\n31",F,\nb,31,M,\n', "line 2: the cell of 'age' goes on in another"),
}


@pytest.mark.parametrize("form", STRAY)
@pytest.mark.parametrize("separator", [",", ";"])
def test_a_stray_quote_swallows_no_rows(tmp_path, form, separator):
    rows, wanted = STRAY[form]
    file = tmp_path / "x.csv"
    file.write_text(f"id,age,sex,note\n{rows}".replace(",", separator))
    for some in (None, 5):
        with pytest.raises(UserError) as refused:
            read_sheet(file, columns={"case": ("id",), "age": ("age",)}, rows=some)
        assert wanted in str(refused.value)


REPORTS = {
    "prose": "Heart, lungs and bones.\nNo effusion, no mass.",
    "with blank lines": "Heart:\n\n  normal, as before,\n\nlungs, too.",
    "with quotes": 'A ""mass"", as they say.\nNone, here.',
    "with a list": "one, two, three, four\nfive\nsix",
    "of one line": "Heart, lungs",
    "of single words": "Heart\nlungs\nbones",
}


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("header", ["id,report", "report,id", "id,report,sex", "id,sex,report"])
def test_reports_of_several_lines_beside_the_wanted_columns_are_no_fault(tmp_path, header, report):
    file = tmp_path / "x.csv"
    rows = ({"id": name, "report": f'"{REPORTS[report]}"', "sex": "F"} for name in "ab")
    lines = [",".join(row[column] for column in header.split(",")) for row in rows]
    file.write_text("\n".join([header, *lines, ""]))
    sheet = read_sheet(file, columns={"case": ("id",)})
    assert list(sheet["case"]) == ["a", "b"]
    # the second begins behind all lines of the first
    assert line_of(sheet, np.array([False, True])) == 3 + REPORTS[report].count("\n")


def test_two_reports_in_one_row_are_no_fault(tmp_path):
    file = tmp_path / "x.csv"
    # the second line has the separators of a row, but closes a cell and begins another
    file.write_text('id,findings,sex,impression\na,"Heart\nlungs","F","no mass\nclear"\nb,,M,\n')
    assert list(read_sheet(file, columns={"case": ("id",)})["case"]) == ["a", "b"]


def test_lines_are_those_of_the_file(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text('"id",age,"in\nyears"\na,1,\n\n \nb,,"x\ny"\nc,?,\n')
    sheet = read_sheet(file, columns={"case": ("id",), "age": ("age",)})
    assert [line_of(sheet, (sheet["case"] == name).to_numpy()) for name in "abc"] == [3, 6, 8]
    with pytest.raises(UserError, match=r"x\.csv: line 6 has no age"):
        refuse_empty(sheet, columns=["age"], file=file)
    with pytest.raises(UserError, match=r"x\.csv: line 8 says '\?' for 'age'"):
        refuse_other(sheet, columns=["age"], known=["1", ""], file=file)


def test_sampled_rows_know_their_lines(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("id\n" + "".join(f"\n{number}\n" for number in range(100)))
    sheet = read_sheet(file, columns={"case": ("id",)}, rows=5)
    assert len(sheet) == 10
    assert [line + 2 for line in sheet.index] == [3 + 2 * int(case) for case in sheet["case"]]


def workbook(*names):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, "application/vnd.oasis.opendocument.spreadsheet" if name == "mimetype" else "")
    return packed.getvalue()


OTHERS = {
    "xlsx": (workbook("[Content_Types].xml", "xl/workbook.xml"), "is an Excel file, not a CSV; save its sheet as CSV"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504), "is an Excel file (.xls), not a CSV; save its sheet"),
    "ods": (workbook("mimetype"), "is an OpenDocument spreadsheet, not a CSV; save its sheet as CSV UTF-8"),
    "zip": (workbook("cases.csv"), "is a ZIP archive, not a CSV; unzip it"),
    "little": ("id,Größe\n1,ä\n".encode("utf-16-le"), "without a byte order mark, not a CSV; save it as CSV UTF-8, or"),
    "big": ("id,Größe\n1,ä\n".encode("utf-16-be"), "convert it: iconv -f UTF-16BE -t UTF-8"),
}


@pytest.mark.parametrize("form", OTHERS)
def test_what_is_called_csv_but_is_not_is_named(tmp_path, form):
    file = tmp_path / "x.csv"
    content, wanted = OTHERS[form]
    file.write_bytes(content)
    with pytest.raises(UserError) as refused:
        read_sheet(file, columns={"case": ("id",)})
    assert wanted in str(refused.value)
    assert read_header(file) == []


def test_a_compressed_table_needs_no_suffix(tmp_path):
    file = tmp_path / "x.csv"
    file.write_bytes(gzip.compress(b"id,sex\n1,F\n2,M\n"))
    for rows in (None, 1):
        assert read_sheet(file, columns={"case": ("id",)}, rows=rows)["case"].tolist() == ["1", "2"][:rows]
    assert read_header(file) == ["id", "sex"]


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
