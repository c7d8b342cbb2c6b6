#!/bin/sh
# Completes the environment of the build stage: our own wheels, a check, and what must be said about what is in it.
set -eu
about=/opt/rollcall/share/rollcall
/opt/tools/bin/pip --python /opt/rollcall install --no-deps --no-index /wheels/*.whl
/opt/tools/bin/pip --python /opt/rollcall check
mkdir -p "$about"
/opt/rollcall/bin/python image/notices.py > "$about/THIRD-PARTY-NOTICES"
/opt/tools/bin/cyclonedx-py environment --output-reproducible --output-file "$about/sbom.cdx.json" /opt/rollcall/bin/python
