"""SurgRec: surgical video to shards, balanced exact streams, MAE and JEPA pretraining, audited evaluation.

The rooms, in the order the data passes through them:
manifest -> shards -> stream -> clips -> masks -> models -> objectives -> training -> features -> evaluation.
`storage`, `errors` and `cli` serve them all. The offline tool that writes shards is the package `surgrec_shard`.
"""

__version__ = "0.1.0"
