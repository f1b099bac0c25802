"""From an encoder or a run to a report. Now: the report of a run; splits, audits and probes will follow."""
