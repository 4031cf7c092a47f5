"""The file of a trace: a signal at any moment of its writing leaves nothing behind, and the process ends as it should."""

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json, os, signal, sys
import h5py
import numpy as np
from nspike.engine.tile import LayerSpikes
from nspike.engine.window import Rect
from nspike.files.atomic import replacing
from nspike.files.lenient import LenientFile
from nspike.inspection.trace_file import Shape, Writer

name, number = sys.argv[1], int(sys.argv[2])
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
calls, wanted = 0, 0

def sending(method):
    def send(self, *arguments):
        global calls
        calls += 1
        if calls == wanted:
            signal.raise_signal(number)
        return method(self, *arguments)
    return send

for method in ("seek", "write", "truncate", "flush"):
    setattr(LenientFile, method, sending(getattr(LenientFile, method)))

class Spikes:
    def block(self, corner, step, height, width):
        return np.full((2, height), 5, np.uint64)

def work():
    whole = Rect(0, 100, 0, 100)
    with replacing(name) as beside, Writer(beside, name, {"relu1": Shape(1, 2, 2)}, whole) as writer:
        writer.record(LayerSpikes("relu1", 0, whole, (0, 0), Spikes()))
        writer.finish({"layers": []})

work()
os.unlink(name)
codes = []
for wanted in range(1, calls + 1):
    calls = 0
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            work()
        except KeyboardInterrupt:
            sys.exit(130)
        sys.exit(0)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(("number", "code"), [(2, 130), (15, 143)])
def test_a_signal_in_any_call_of_the_library(tmp_path, number, code):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "t.h5"), str(number)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    codes = json.loads(done.stdout)
    assert len(codes) > 20
    assert set(codes) == {code}
    assert list(tmp_path.iterdir()) == []
