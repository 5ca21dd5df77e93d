from pathlib import Path

import pytest
from jinja2 import DictLoader, Environment

from vestige.report import compiled_templates
from vestige.report.compiled_templates import CompiledTemplates


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(compiled_templates, "user_cache", lambda: tmp_path)
    return tmp_path


def rendered(text: str, options: str = "", **more: object) -> str:
    pages = Environment(
        loader=DictLoader({"page": text}), bytecode_cache=CompiledTemplates(options), autoescape=True, **more
    )
    return pages.get_template("page").render(x="<")


def test_the_second_time_nothing_is_compiled(folder, monkeypatch):
    assert rendered("a {{ x }}") == "a &lt;"
    (file,) = (path for path in folder.rglob("*") if path.is_file())
    monkeypatch.setattr(Environment, "compile", None)
    assert rendered("a {{ x }}") == "a &lt;"
    assert file.stat().st_size > 0


def test_another_text_or_other_options_are_compiled_anew(folder):
    assert rendered("a {{ x }}") == "a &lt;"
    assert rendered("b {{ x }}") == "b &lt;"
    assert rendered("{% if x %}\nc{% endif %}") == "\nc"
    assert rendered("{% if x %}\nc{% endif %}", "trimmed", trim_blocks=True) == "c"
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 4


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_damaged_file_is_as_good_as_none(folder, content):
    assert rendered("a {{ x }}") == "a &lt;"
    (file,) = (path for path in folder.rglob("*") if path.is_file())
    whole = file.read_bytes()
    file.write_bytes(whole[:-40] if content is None else content)
    assert rendered("a {{ x }}") == "a &lt;"
    assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr(compiled_templates, "user_cache", lambda: tmp_path / "file")
    assert rendered("a {{ x }}") == "a &lt;"
