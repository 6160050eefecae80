"""What schemathesis cannot know: how NDJSON is written, and which ids exist (FUZZ_IDS, separated by commas)."""

import json
import os
import zlib

import schemathesis

IDS = [name for name in os.environ.get("FUZZ_IDS", "").split(",") if name]


@schemathesis.serializer("application/x-ndjson")
def write_lines(_, value):
    lines = value if isinstance(value, list) else [value]
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    return "\n".join(texts).encode("utf-8", "surrogatepass")


@schemathesis.hook
def map_path_parameters(_, path_parameters):
    """Three of four requests are about something that is there."""
    if IDS and path_parameters:
        for name in [name for name in path_parameters if name == "id"]:
            choice = zlib.crc32(str(path_parameters[name]).encode("utf-8", "surrogatepass"))
            if choice % 4:
                path_parameters[name] = IDS[choice // 4 % len(IDS)]
    return path_parameters
