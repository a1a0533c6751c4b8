import logging

from mixopt.callbacks.base import StudyWarning
from mixopt.callbacks.warning_file import NAME, WarningFile

LONG = "A long sentence that says what is wrong and where it is wrong, " * 3 + "and what to do."


def test_warnings_that_fit_a_line_need_no_file(tmp_path):
    lines = []
    warnings = WarningFile(tmp_path, lines.append)
    warnings.add(StudyWarning("Short."))
    warnings.add(StudyWarning("Short."))
    assert lines == ["warning: Short."]
    assert warnings.describe() == "1"
    assert not (tmp_path / NAME).exists()


def test_the_file_groups_all_of_them_by_what_they_change(tmp_path):
    lines = []
    warnings = WarningFile(tmp_path, lines.append)
    for text, changes in (("Short.", "nothing"), (LONG, "scores"), ("Late.", "ratios")):
        warnings.add(StudyWarning(text, changes))
    assert [line[:20] for line in lines] == [
        "warning: Short.", "warning: A long sent", "warning: Late.",
    ]  # fmt: skip
    text = (tmp_path / NAME).read_text()
    assert text.index("Late.") < text.index(LONG) < text.index("Short.")
    assert warnings.describe() == "3, 1 may change the ratios"


def test_what_is_logged_meanwhile_is_a_warning_too_and_marked_as_shown(tmp_path, caplog):
    lines = []
    log = logging.getLogger("mixopt.some.module")
    warnings = WarningFile(tmp_path, lines.append)
    warnings.open()
    log.warning("%s http://me:secret@host/x", LONG)
    log.info("not a warning")
    warnings.close()
    log.warning("later")
    assert len(lines) == 1
    assert "secret" not in (tmp_path / NAME).read_text()
    assert [getattr(record, "shown", False) for record in caplog.records] == [True, False]


def test_the_file_of_an_earlier_command_goes(tmp_path):
    (tmp_path / NAME).write_text("old")
    warnings = WarningFile(tmp_path, print)
    warnings.open()
    warnings.close()
    assert not (tmp_path / NAME).exists()
