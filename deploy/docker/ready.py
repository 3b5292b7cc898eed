"""Whether the server in this container answers: exit code 0 if every model does, else 1. For HEALTHCHECK.

Usage: ready.py [HTTP PORT, 8000 by default]
"""

import http.client
import ssl
import sys

SECONDS = 4
# With --tls-cert the certificate is for the public name and not for loopback.
UNVERIFIED = ssl._create_unverified_context()  # noqa: S323 - it asks itself


def ready(connection: http.client.HTTPConnection) -> bool:
    """Whether /v2/health/ready says yes."""
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
plain = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
encrypted = http.client.HTTPSConnection("127.0.0.1", port, timeout=SECONDS, context=UNVERIFIED)
sys.exit(0 if ready(plain) or ready(encrypted) else 1)
