"""Compare encoders by the result folders of their evaluations. No torch, no video.

Example:
    >>> comparison = compare(["runs/a", "runs/b"])
    >>> write_tables(comparison, Path("comparison"))
"""

from surgrec.comparisons._compare import compare
from surgrec.comparisons._records import Comparison, DataSet, Row, Standing
from surgrec.comparisons._results import Result, read_result, result_folders
from surgrec.comparisons._table import Table, number
from surgrec.comparisons._tables import ComparisonTables, comparison_tables, standing_table
from surgrec.comparisons._write import comparison_record, write_tables

__all__ = [
    "Comparison",
    "ComparisonTables",
    "DataSet",
    "Result",
    "Row",
    "Standing",
    "Table",
    "compare",
    "comparison_record",
    "comparison_tables",
    "number",
    "read_result",
    "result_folders",
    "standing_table",
    "write_tables",
]
