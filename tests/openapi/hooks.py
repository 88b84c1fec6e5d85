"""How requests are written whose bodies are text."""

import schemathesis


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def text(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
