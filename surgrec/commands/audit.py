"""`surgrec audit`: the findings about an evaluation split, and about published scores on it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from surgrec.audit import (
    Audit,
    Columns,
    PublishedMetric,
    audit_split,
    audit_table,
    check_pretraining,
    print_audit,
    read_split_clips,
)
from surgrec.commands._train_extra import train_extra
from surgrec.options import refuse_unused
from surgrec.ranges import Range
from surgrec.splits import is_split_file
from surgrec.terminal import escape, print_json, say
from surgrec.text import as_list


def audit(
    split: list[str],
    *,
    corpus: str | list[str] = "",
    task: str = "",
    dataset: str = "",
    pattern: str = "",
    columns: Columns = Columns(),
    multilabel: bool = False,
    claim: Annotated[float, Range(0, 1, above=True)] | None = None,
    pretraining: str | list[str] = "",
    copies: Path | None = None,
    allow: str | list[str] = "",
    table: Path | None = None,
    metric: PublishedMetric = "accuracy",
    score_columns: str | list[str] = "",
    json: bool = False,
    html: Path | None = None,
) -> int:
    """Check an evaluation split before anything is scored. No video is opened.

    It looks for leaks between the parts, and checks rows, labels and sizes. Exit status 0: no
    finding fails. Exit status 1: a finding of severity fail, which --allow does not name; with
    --table: a suspicious cell.

    Args:
        split: A folder with files for train, val and test; or these files, as FILE or PART=FILE;
            or one table with a column for the part; or a YAML file with rules over the cases of a
            corpus. Files have lines `path label`, or are CSV or JSON. Also as `--split`.
        corpus: Corpus of a YAML file with rules, or a list of corpora.
        task: Task of the labels in these corpora. Default: only cases and videos are checked.
        dataset: Published set whose file names hold the cases (docs/audit.md lists them), or a
            YAML file like those. Default: the set that the folders name.
        pattern: Python expression with the group `case`, in place of a set. It may have the groups
            `video`, `subject`, `class`, `start` and `end`, too.
        columns: Columns of tables; by default, the usual names.
        multilabel: A clip may have several labels at once, such as the tools in use.
        claim: Smallest difference of accuracies that is claimed, such as 0.02.
        pretraining: Corpus that an encoder was pretrained on, or a list of corpora.
        copies: Output of `surgrec-shard dedup CORPUS --against PRETRAINING --json`: videos that
            look alike.
        allow: Name of a finding that does not fail, such as shared_cases, or a list of names. The
            result lists them.
        table: CSV table of published scores: find cells that a constant predictor reaches, or that
            no number of correct test clips gives. The split is only read.
        metric: Metric of the columns of this table whose names say none.
        score_columns: Name of the column of scores in this table, or a list of names. Default: all
            columns of numbers except counts, such as a number of clips.
        json: Print JSON instead of tables.
        html: Write the findings to this HTML page, too.

    Example:
        surgrec audit splits/kvasir-capsule
        surgrec audit train=a.txt test=b.txt --pattern "(?P<case>case_[0-9]+)"
        surgrec audit split.yaml --corpus /data/corpus --task phase
        surgrec audit --table results.csv --split splits/kvasir-capsule
    """
    if table is None:
        refuse_unused(
            "an audit without --table",
            {"score_columns": score_columns, "metric": metric != "accuracy"},
            "give --table",
        )
    else:
        refuse_unused(
            "--table",
            {
                "multilabel": multilabel, "claim": claim, "pretraining": pretraining,
                "copies": copies, "allow": allow, "html": html,
            },
            "leave --table out to check the split",
        )  # fmt: skip
    clips = read_split_clips(
        split,
        corpora=as_list(corpus),
        task=task,
        # Rules have cases; with them, --dataset only chooses the rows of --table.
        dataset="" if table is not None and any(map(is_split_file, split)) else dataset,
        pattern=pattern,
        columns=columns,
        multilabel=multilabel,
        tell=_tell,
    )
    if table is not None:
        cells = audit_table(
            table,
            clips,
            dataset=dataset,
            metric=metric,
            score_columns=as_list(score_columns),
            tell=_tell,
        )
        if json:
            print_json(asdict(cells))
        else:
            print_audit(cells)
        return 1 if cells.sentences else 0

    further = check_pretraining(clips, as_list(pretraining), copies)
    result = audit_split(clips, claim=claim, allow=as_list(allow), further=further)
    if json:
        print_json(asdict(result))
    else:
        print_audit(result)
    if html is not None:
        _write(result, html)
    return 1 if result.failures else 0


def _tell(sentence: str) -> None:
    say(escape(sentence))


def _write(result: Audit, path: Path) -> None:
    with train_extra():
        from surgrec.report import write_audit

    write_audit(result, path)
    say(escape(f"page: {path}"))
