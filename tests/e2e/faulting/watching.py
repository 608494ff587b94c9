"""What a pod of the gate says of itself on its health port."""

import http.client

from e2e.cluster.pods import Running


def readyz(pod: Running) -> tuple[bool, str]:
    """Whether it is ready, and the lines of what it looks at."""
    code, text = asked(pod, "/readyz?verbose")
    return code == 200, text


def metric(pod: Running, name: str) -> float:
    """Of a metric without labels; ``name`` without the prefix."""
    _, text = asked(pod, "/metrics")
    (line,) = [line for line in text.splitlines() if line.startswith(f"portcullis_{name} ")]
    return float(line.rpartition(" ")[2])


def asked(pod: Running, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", pod.named["health"], timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
