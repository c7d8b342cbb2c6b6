"""The records of what was explained: kept so that nobody can lose or alter one without being found out.

`merkle`, `notes`, `proofs` and `verify` need the standard library and cryptography only, and nothing else of Rollcall:
an auditor runs them on an export.
"""
