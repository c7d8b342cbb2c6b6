"""What an explanation costs: `python -m tests.bench.cost`, or `make bench`.

`models` are the sizes that are measured, `subjects` texts with the rows that an explanation of them ran, `whole` holds
an explanation against its rows on the stock model, `sweeps` follow its cost over length, units, rows and batch size,
`memory` looks at peaks, and `report` lays out what was found.

Ratios are of processor time within one run, everything measured in turn: other programs on the machine hardly change
them. Stages are wall time.
"""
