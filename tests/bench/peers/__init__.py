"""Rollcall beside other tools on identical work: `python -m tests.bench.peers`.

Each peer lives in a virtual environment of its own, with the same torch and transformers as ours, and runs as one
process that stays up and is told what to do (`process`, `scripts`). Scores are compared first: work on which two sides
disagree is not timed. Then all sides are measured in turn, again and again (`measure`), ours by the engine's or the
server's usual ways (`ours`). One file `vs_*` says for each peer what the identical work is; `report` lays out what was
found.
"""
