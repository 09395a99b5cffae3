"""Parses the access logs and the metrics of a server, with independent parsers. See ci/log-parsers.

    parse_logs.py combined FILE     prints STATUS, BYTES and TARGET of each line, with tabs between them
    parse_logs.py common FILE       the same
    parse_logs.py json FILE         the same
    parse_logs.py prometheus FILE   prints NAME, LABELS and VALUE of each sample

It fails at the first line that isn't understood.
"""

import json
import sys


def apache(path, log_format):
    from apachelogs import LogParser

    parser = LogParser(log_format)
    with open(path, "rb") as log:
        for line in log:
            entry = parser.parse(line.decode("ascii"))
            # Without a space there is no target.
            words = (entry.request_line or "").split(" ", 2)
            yield entry.final_status, entry.bytes_sent, words[1] if len(words) > 1 else ""


def json_lines(path):
    names = {
        "time", "connection", "peer", "method", "target", "version", "referer", "user_agent", "status", "bytes_in",
        "bytes_out", "body_bytes_out", "until_handler", "handler_time", "duration", "refused", "closed", "complete",
    }
    with open(path, "rb") as log:
        for line in log:
            entry = json.loads(line.decode("ascii"))
            if set(entry) != names:
                raise ValueError(f"its members are {sorted(entry)}: {line}")
            if (entry["refused"] is not None) and not entry["status"]:
                raise ValueError(f"refused without a status: {line}")
            yield entry["status"], entry["body_bytes_out"] or None, entry["target"] or ""


def prometheus(path):
    from prometheus_client.parser import text_fd_to_metric_families

    with open(path, encoding="ascii") as text:
        for family in text_fd_to_metric_families(text):
            if not family.documentation or family.type == "unknown":
                raise ValueError(f"{family.name} has no HELP or no TYPE")
            for sample in family.samples:
                labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                yield sample.name, labels, sample.value


def main(kind, path):
    combined = '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"'
    parsed = {
        "combined": lambda: apache(path, combined),
        "common": lambda: apache(path, '%h %l %u %t "%r" %>s %b'),
        "json": lambda: json_lines(path),
        "prometheus": lambda: prometheus(path),
    }[kind]()
    for values in parsed:
        print("\t".join("-" if value is None else str(value) for value in values))


main(*sys.argv[1:])
