"""The page of an audit: findings, escaped names, no network."""

import subprocess
import sys
from pathlib import Path

from surgrec.audit import audit_split
from surgrec.report import write_audit
from tests.support.processes import ROOT
from tests.support.splits import clean_split, split_of


def test_a_page_shows_findings_and_escapes_names(tmp_path: Path) -> None:
    parts = clean_split()
    name = "<script>case_03_access_0-10.mp4"
    parts["train"].append((name, "0"))
    parts["test"].append((name, "0"))
    audit = audit_split(split_of(parts), allow=["shared_clips"])
    write_audit(audit, tmp_path / "new" / "a.html")
    write_audit(audit, tmp_path / "b.html")

    page = (tmp_path / "new" / "a.html").read_text(encoding="utf-8")
    assert page == (tmp_path / "b.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;case_03" in page
    assert "<script" not in page
    assert "http" not in page
    assert "<b>Failed:</b> shared_cases, shared_times" in page
    assert "allowed by --allow shared_clips: 1 of 37 test clips" in page


def test_the_page_of_a_clean_split_says_so(tmp_path: Path) -> None:
    write_audit(audit_split(split_of(clean_split())), tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "Passed." in page
    assert "<p>None.</p>" in page


def test_pages_of_audits_comparisons_and_benchmarks_need_no_torch() -> None:
    program = (
        "import sys; from surgrec.report import write_audit; import surgrec.report.benchmark; "
        "import surgrec.report.comparison; sys.exit('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], check=False, cwd=ROOT)
    assert run.returncode == 0
