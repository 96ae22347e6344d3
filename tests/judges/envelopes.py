"""Judges envelopes with the DSSE of securesystemslib and the statements in them with in-toto-attestation.

Reads from stdin lines of {"envelope", "public": the signer's key in hex, "other": another key in hex}; writes one JSON
document: how many of each payloadType were found right, and which predicates the statements have. Fails at the first that
is wrong, or that is still found right after a change.
"""

import base64
import collections
import copy
import json
import sys

from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

SLSA = "https://slsa.dev/provenance/v1"


def is_right(envelope, public):
    keyid = envelope["signatures"][0]["keyid"]
    key = SSlibKey(keyid, "ed25519", "ed25519", {"public": public})
    try:
        return set(Envelope.from_dict(copy.deepcopy(envelope)).verify([key], 1)) == {keyid}
    except VerificationError:
        return False


def changed(envelope):
    """What an attacker would like to pass."""
    kind = envelope["payloadType"]
    yield {**envelope, "payloadType": kind.replace(".v1+json", ".v2+json") if ".v1+json" in kind else kind + "x"}
    payload = bytearray(base64.b64decode(envelope["payload"]))
    payload[len(payload) // 2] ^= 1
    yield {**envelope, "payload": base64.b64encode(bytes(payload)).decode()}


def predicate_of(payload):
    """The kind of statement that in-toto's own code takes this for."""
    parsed = json_format.Parse(payload, statement_pb2.Statement())
    Statement.copy_from_pb(parsed).validate()
    if parsed.predicate_type == SLSA:
        # SLSA wants its readers to pass over what they do not know: producers may add fields.
        fields = json_format.MessageToDict(parsed.predicate)
        provenance = json_format.ParseDict(fields, provenance_pb2.Provenance(), ignore_unknown_fields=True)
        assert provenance.build_definition.build_type and provenance.run_details.builder.id, fields
        assert provenance.build_definition.resolved_dependencies[0].digest, fields
        assert provenance.run_details.metadata.finished_on.seconds > 0, fields
    return parsed.predicate_type


def main():
    kinds, predicates = collections.Counter(), collections.Counter()
    for line in sys.stdin:
        case = json.loads(line)
        envelope = case["envelope"]
        assert is_right(envelope, case["public"]), f"not right: {envelope}"
        assert not is_right(envelope, case["other"]), f"right under another key: {envelope}"
        for other in changed(envelope):
            assert not is_right(other, case["public"]), f"right though changed: {other}"
        kinds[envelope["payloadType"]] += 1
        if envelope["payloadType"] == "application/vnd.in-toto+json":
            predicates[predicate_of(base64.b64decode(envelope["payload"]))] += 1
    print(json.dumps({"kinds": kinds, "predicates": predicates}))


main()
