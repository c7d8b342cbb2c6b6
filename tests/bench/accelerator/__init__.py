"""What explanations cost on an accelerator: `python -m tests.bench.accelerator --device cuda:0`, or `make accelerator`.

`models` are the sizes, `measure` takes latency, throughput and where the time goes, `report` lays it out. Times are
wall time here: what counts is when an answer is there, and the device works beside the processor.
"""
