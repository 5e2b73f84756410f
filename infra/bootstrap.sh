#!/bin/sh
# Finds a Python that is new enough and hands over to bootstrap.py, with the same arguments.
# Only what any POSIX system has may be used here; nothing is downloaded or written.
set -u
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
good='import sys; sys.exit(sys.version_info < (3, 11))'

# The finished environment's own Python first (it answers in milliseconds), then the user's choice, then the newest.
for python in ${PYTHON:+"$PYTHON"} "$here/../.venv/bin/python" python3 python3.14 python3.13 python3.12 python3.11; do
    if "$python" -I -c "$good" >/dev/null 2>&1; then
        exec "$python" -I "$here/bootstrap.py" "$@"
    fi
done

found=$(python3 --version 2>/dev/null) || found="no python3"
echo "Skyswarm needs Python 3.11 or newer; this machine has $found on its PATH." >&2
echo "Install one (Debian 12 or newer, Ubuntu 24.04 or newer: apt-get install python3), or name it: make PYTHON=/path/to/python3.12 …" >&2
exit 1
