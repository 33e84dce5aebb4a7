import pytest

from headwater.io.sheets import read_lines, read_sheet
from headwater.refusals import Refusal


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
    ("content", "wanted"),
    [(b"", "no readable CSV"), (b"\x89PNG\xff\xfe\x00", "no readable CSV"), (b"idd,b\n1,2\n", "did you mean 'idd'?")],
)
def test_a_broken_sheet_is_refused(tmp_path, content, wanted):
    file = tmp_path / "x.csv"
    file.write_bytes(content)
    with pytest.raises(Refusal, match=r"x\.csv") as refused:
        read_sheet(file, columns={"case": ("id",)})
    assert wanted in str(refused.value)


def test_a_list_keeps_its_order_and_refuses_a_line_twice(tmp_path):
    file = tmp_path / "x.txt"
    file.write_text("b\r\n\r\n a \n")
    assert read_lines(file) == ["b", "a"]
    file.write_text("b\na\nb\n")
    with pytest.raises(Refusal, match="b stands there more than once"):
        read_lines(file)
