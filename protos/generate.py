"""Generate the committed Python stubs of the service and of the Python client from one recipe.

`python protos/generate.py` writes them; `python protos/generate.py --check` fails, and names the files, where the
committed stubs differ from what the recipe makes. The client's stubs come from the same descriptors under the same file
names, so both packages can be imported in one process; only the imports between stubs are made relative. The Open
Inference Protocol's stubs are the service's alone: its names belong to everybody's clients.
"""

from __future__ import annotations

import argparse
import re
import sys
import sysconfig
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
SERVICE = ROOT.parent / "service" / "rollcall" / "v1"
OPEN_INFERENCE = ROOT.parent / "service" / "rollcall" / "oip"
CLIENT = ROOT.parent / "clients" / "python" / "src" / "rollcall_client" / "_v1"
SERVICE_OF_FILE = re.compile(r"^service ", re.MULTILINE)
FOLDERS = (SERVICE, CLIENT, OPEN_INFERENCE)
PACKAGE_DOC = '"""Generated from protos/ by protos/generate.py; never edited."""\n'
SIBLING_IMPORT = re.compile(r"^from (rollcall\.v1|inference) import ", re.MULTILINE)
SIBLING_MODULE = re.compile(r"^import (rollcall\.v1|inference)\.", re.MULTILINE)


def compile_protos(package: str, out: Path) -> dict[str, str]:
    """Run protoc on a directory of protos into `out`; return the stubs' texts by file name.

    Raises SystemExit where protoc refuses.
    """
    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / package).glob("*.proto"))
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    scripts = Path(sysconfig.get_path("scripts"))
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={ROOT}",
            f"--proto_path={well_known}",
            f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            f"--mypy_out={out}",
            f"--mypy_grpc_out={out}",
            *sources,
        ]
    )
    if status != 0:
        raise SystemExit(status)
    stubs = {path.name: path.read_text() for path in sorted((out / package).iterdir())}
    # protoc writes an empty *_pb2_grpc.py for each file without a service: leave those out.
    serving = {Path(source).stem for source in sources if SERVICE_OF_FILE.search((ROOT / source).read_text())}
    return {name: text for name, text in stubs.items() if "_pb2_grpc" not in name or name.split("_pb2")[0] in serving}


def relative(text: str) -> str:
    """Make the imports between sibling stubs relative."""
    if SIBLING_MODULE.search(text):
        message = "a stub imports its sibling in a form that the recipe cannot make relative"
        raise SystemExit(message)
    return SIBLING_IMPORT.sub("from . import ", text)


def main() -> int:
    """Write or check the stubs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="compare with the committed stubs instead of writing them")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        stubs = compile_protos("rollcall/v1", Path(scratch))
        open_inference = compile_protos("inference", Path(scratch))
    wanted = {SERVICE / name: text for name, text in stubs.items()}
    wanted |= {OPEN_INFERENCE / name: relative(text) for name, text in open_inference.items()}
    # The client calls its channel directly: generated service stubs would tie it to the newest grpcio.
    wanted |= {CLIENT / name: relative(text) for name, text in stubs.items() if "_pb2_grpc" not in name}
    wanted |= {folder / "__init__.py": PACKAGE_DOC for folder in FOLDERS}
    stale = {path for folder in FOLDERS for path in folder.glob("*.py*") if path not in wanted}
    if arguments.check:
        different = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
        for path in sorted({*different, *stale}):
            print(f"differs from protos/: {path.relative_to(ROOT.parent)} (run: make protos)", file=sys.stderr)
        return 1 if different or stale else 0
    for path in stale:
        path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    print(f"wrote {len(wanted)} files")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
