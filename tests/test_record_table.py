import pytest

from vestige.errors import DataError
from vestige.record_table import RecordRow, beside, from_csv, to_csv

ROWS = [
    RecordRow(
        id="a, 1", label="x", group="", member=True, posterior=0.75, posterior_low=0.5, posterior_high=0.875,
        exposure=None, scores={"loss": -0.1, "lira[pooled]": 1e-300},
    ),
    RecordRow(
        id='"b"', label="y", group="anna", member=False, posterior=None, posterior_low=None, posterior_high=None,
        exposure=0.5, scores={"loss": 2.0, "lira[pooled]": -3.0},
    ),
]  # fmt: skip


def test_a_table_comes_back_as_it_was_written():
    assert from_csv(to_csv(ROWS)) == ROWS


def test_it_is_found_beside_a_log_and_may_be_absent(tmp_path):
    assert beside(tmp_path) == []
    (tmp_path / "records.csv").write_text(to_csv(ROWS))
    assert beside(tmp_path) == beside(tmp_path / "audit.json") == ROWS


@pytest.mark.parametrize("text", ["", "id,score\n1,2\n", to_csv(ROWS).split("\n")[0].rsplit(",", 2)[0]])
def test_other_tables_are_refused(text):
    with pytest.raises(DataError, match="other columns"):
        from_csv(text)


def test_a_broken_line_is_named():
    with pytest.raises(DataError, match="Line 3 of 'x' is not a record"):
        from_csv(to_csv(ROWS).replace(",2.0,", ",two,"), "'x'")
    with pytest.raises(DataError, match="Line 2"):
        from_csv(to_csv(ROWS[:1]).rstrip("\n").rsplit(",", 1)[0])
