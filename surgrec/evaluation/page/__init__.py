"""Parts of the report: what is read of a run, and the sections, charts and pictures that are made of it."""
