#!/usr/bin/env python3
"""Writes what the fuzz targets begin with, to fuzz/corpus/TARGET/: what real nodes, packages and definitions hold."""

import base64
import gzip
import json
import pathlib
import re
import struct
import sys
import zlib

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures"

# Who signs what the readers sign: the nodes of fixtures/messages, whose keys stand for those of a transcript's nodes.
KEYS = [
    "rkeohxlubhyzl7ks3mwtzos5olfgocn7dwkbeg7toseadnapn5oa",
    "qe4xodvipulv6vvdkrtmgtd6ztfy3curwtxdpis56yhvxd6jwoka",
    "5vesrrri2hbmn2xjam4jawmvmeuvsjz2lrr7snrwyfdbjlehg7iq",
]


def kinds():
    """The types of messages, in the order in which `readers::records::envelope` draws them by the first byte."""
    source = (HERE / "readers/records.rs").read_text()
    listed = re.search(r"const KINDS: .*?= \[(.*?)\];", source, re.S).group(1)
    return re.findall(r'"(.*?)"', listed)


def transcript(party):
    """A transcript's records, and the payloads of the envelopes in them by their types."""
    text = (FIXTURES / f"fuzz/transcript/{party}.json").read_text()
    document = json.loads(text)
    named = {member["party"]: member["key"] for member in document["parties"]}
    keys = dict(zip([named["initiator"], named["provider"], named["peer"]], KEYS))

    def opened(envelope):
        said = base64.b64decode(envelope["payload"]).decode()
        for theirs, ours in keys.items():
            said = said.replace(theirs, ours)
        return said.encode()

    records = [json.loads(line) for line in document["records"]]
    enclosed = [record["body"]["envelope"] for record in records if "envelope" in record["body"]]
    messages = [(envelope["payloadType"].split(".")[2], opened(envelope)) for envelope in enclosed]
    return document, records, messages, opened


def payload(envelope):
    return base64.b64decode(json.loads(envelope.read_text())["payload"])


PARTIES = ["initiator", "provider", "peer"]


def archives():
    cases = json.loads((FIXTURES / "packages/cases.json").read_text())
    for kind in "good", "evil":
        for name, case in cases[kind].items():
            try:
                raw = gzip.decompress((FIXTURES / f"packages/{kind}/{name}.tar.gz").read_bytes())
            except (OSError, EOFError, zlib.error):
                continue
            if len(raw) <= 64 << 10:
                yield name, bytes([min(case["entries"], 255)]) + raw


def envelopes():
    for kind in "good", "bad":
        for path in (FIXTURES / "messages" / kind).glob("*.json"):
            yield path.name, path.read_bytes()
    for at, kind in enumerate(kinds()):
        path = FIXTURES / f"messages/good/{kind}.json"
        if path.exists():
            yield f"payload-{kind}", bytes([at]) + payload(path)
    for party in PARTIES:
        for number, (kind, said) in enumerate(transcript(party)[2]):
            yield f"{party}-{number}-{kind}", bytes([kinds().index(kind)]) + said


def manifests():
    for party in PARTIES:
        document, *_, opened = transcript(party)
        for digest, manifest in document["manifests"].items():
            yield digest, opened(manifest)
    for path in (FIXTURES / "fuzz/provenance").glob("*.json"):
        yield path.name, path.read_bytes()


def ledgers():
    document, *_, opened = transcript("initiator")
    pairs = [json.loads(line) for line in document["ledger"]]
    yield "lines", "\n".join(document["ledger"]) + "\n"
    yield "pairs", b"".join(b"\t".join([opened(pair["accounting"]), opened(pair["receipt"])]) + b"\n" for pair in pairs)
    pair = [payload(FIXTURES / f"messages/good/{kind}.json") for kind in ("accounting", "receipt")]
    yield "pair", b"\t".join(pair) + b"\n"
    yield "usage", '{"meter": "readings", "amount": "1", "unit": "page"}'
    yield "usage-words", "readings=12 pages"


def transcripts():
    for which, party in enumerate(PARTIES):
        document, records, *_ = transcript(party)
        yield f"{party}-whole", json.dumps(document)
        for number, record in enumerate(records):
            body = json.dumps(record["body"], separators=(",", ":")).encode()
            if "envelope" not in record["body"] and len(body) < 1 << 16:
                yield f"{party}-{number}", bytes([which, number]) + struct.pack("<H", len(body)) + body
                # The next one, with another one's body.
                yield f"{party}-{number}-again", bytes([which, number + 1]) + struct.pack("<H", len(body)) + body


def interfaces():
    values = '{"port": 8081, "title": "a"}', 'repeat = 2\nport = 9\n', "colour=red"
    whole = {
        "type": "object", "additionalProperties": False, "required": ["port"],
        "properties": {
            "port": {"type": "integer", "title": "Port", "minimum": 1024, "maximum": 65535, "x-order": 1},
            "title": {"type": "string", "default": "ours", "maxLength": 80, "pattern": "^[a-z]+$"},
            "colour": {"enum": ["red", "blue"], "default": "red"},
            "ratio": {"type": "number", "minimum": 0},
            "public": {"type": "boolean", "default": True},
        },
    }
    made = {"name": "site", "version": "1.0.0", "summary": "a site", "schema": whole, "roles": {}}
    said = [json.loads(said) for kind, said in transcript("initiator")[2] if kind == "interface"]
    said = [message | {"name": message["service"]["name"], "version": message["service"]["version"]} for message in said]
    for number, interface in enumerate([made, *said]):
        yield str(number), "\0".join([json.dumps(interface), *values])


def terms():
    for party in PARTIES:
        for kind, said in transcript(party)[2]:
            if kind == "invitation":
                yield f"{party}", json.dumps(json.loads(said)["interface"])
    yield "full", json.dumps({
        "for": "peer", "min": 0, "max": 4, "platforms": ["linux-x86_64", "any"], "requires": ["python >= 3.9", "memory >= 64MiB"],
        "run": {
            "command": ["sh", "-c", "{{ options.port + 1 }}", "{{ roster.peers | map(attribute='name') | join(',') }}"],
            "ready": {"tcp": "127.0.0.1:{{ options.port }}", "within": "10s"}, "stop": {"signal": "TERM", "grace": "5s"},
            "restart": "on-failure", "environment": {"A": "{{ options.title | default('x') | upper }}", "B": "{{ role }}"},
        },
        "permissions": {"network": ["listen:{{ options.port }}", "connect:{{ roster.initiator.host }}:80"], "write": ["data/a"]},
    })


def definitions():
    for path in FIXTURES.glob("services/**/*.toml"):
        yield "-".join(path.parts[-2:]), path.read_text()


def queries():
    device = {
        "platform": "linux-x86_64", "system": "Debian 12", "tools": {"python": "3.11.2", "sh": True, "wine": False},
        "memory": 4000000000, "disk": 9, "cpu_mhz": 1, "cpus": 2, "display": True,
    }
    query = {"device": device, "text": "door", "category": "home", "license": ["MIT"], "max_size": 100, "explain": "tool"}
    yield "one", json.dumps(query | {"enables": "_door._tcp"})
    yield "several", json.dumps({"device": {"platform": "linux-x86_64"}, "enables": ["_door._tcp", "urn:a:device:B:1"]})
    listed = {"name": "tool", "version": "1.0.0", "summary": "a tool", "signer": KEYS[0], "size": 9}
    yield "answer", json.dumps({
        "programs": [listed | {"platform": "linux-x86_64", "runs": "native", "by": []}],
        "explained": [listed | {"unmet": []}], "more": True,
    })


def patches():
    delta = bytes([2, 3, 20, 10, 5, 200, 1, 41]) + b"new bytes"
    record = bytes([0, 0, 2]) + struct.pack("<H", len(delta)) + delta
    yield "record", bytes([1]) + record
    yield "records", bytes([1]) + record * 3
    member = gzip.compress(delta)
    yield "raw", bytes([0, 0, 0, 2, len(member)]) + member


WORDS = [
    f"deploy://{KEYS[0]}@192.0.2.1:4800", f"deploy://{KEYS[0]}@[2001:db8::1]:1/board@1.2?signer={KEYS[1]}", f"deploy://{KEYS[0]}/tool",
    "host.example:80", "garage-door", "2026-01-31T18:00:00.000Z", "1h30m", "5s", "https://example.org/a/", "file:///tmp/a", "listen:80",
    "connect:[::1]:80", "any", "python >= 3.9", "memory>=64MiB", "linux-x86_64", "urn:schemas-upnp-org:device:MediaServer:1",
    "_door._tcp", "Left door._door._tcp.local.", "http://192.0.2.7:80/d/device.xml", "request,invite", "3.11.2", "64KiB",
]


def datagrams():
    head = "HOST: 239.255.255.250:1900\r\n"
    node = "USN: uuid:0::urn:a:service:C:2\r\nLOCATION: http://192.0.2.7:80/device.xml\r\nCACHE-CONTROL: max-age=1800\r\n"
    boot = "BOOTID.UPNP.ORG: 7\r\nCONFIGID.UPNP.ORG: 9\r\nSERVER: Linux UPnP/1.1 x/1\r\n"
    for kind in "alive", "byebye", "update":
        more = "NEXTBOOTID.UPNP.ORG: 8\r\n" if kind == "update" else ""
        yield kind, f"NOTIFY * HTTP/1.1\r\n{head}NT: urn:a:service:C:2\r\nNTS: ssdp:{kind}\r\n{node}{boot}{more}\r\n"
    yield "answer", f"HTTP/1.1 200 OK\r\nST: urn:a:service:C:2\r\nEXT:\r\n{node}{boot}\r\n"
    for target in "ssdp:all", "upnp:rootdevice", "uuid:0", "urn:a:device:B:1", "urn:a:service:C:1":
        yield target.replace(":", "-"), f'M-SEARCH * HTTP/1.1\r\n{head}MAN: "ssdp:discover"\r\nMX: 2\r\nST: {target}\r\n\r\n'


def messages():
    """Of multicast DNS, each behind a byte that says when it comes: a browse, a probe, an answer."""
    kind, own = b"\x0a_deployctl\x04_tcp\x05local\0", b"\x0cada abpqgaye\xc0\x0c"
    yield "browse", b"\x05\0\0\0\0\0\x01\0\0\0\0\0\0" + kind + b"\0\x0c\0\x01"
    answer = b"\0\0\x84\0\0\0\0\x01\0\0\0\x01" + kind + b"\0\x0c\0\x01\0\0\x11\x94\0\x0f" + own
    srv = b"\xc0\x2d\0\x21\x80\x01\0\0\0\x78\0\x0a\0\0\0\0\0\x09\x01x\xc0\x1c"
    yield "answer", b"\x01" + answer + srv
    host = b"\x0cada-abpqgaye\x05local\0"
    yield "probe", b"\x02\0\0\0\0\0\x01\0\0\0\x01\0\0" + host + b"\0\xff\x80\x01\xc0\x0c\0\x01\0\x01\0\0\0\x78\0\x04\xff\xff\xff\xff"


def calls():
    kind = "urn:schemas-upnp-org:service:ContentDirectory:1"
    browse = "<ObjectID>0</ObjectID><BrowseFlag>BrowseDirectChildren</BrowseFlag><Filter>*</Filter>"
    search = "<ContainerID>0</ContainerID><SearchCriteria>dc:title contains &quot;a&quot;</SearchCriteria><Filter>*</Filter>"
    page = "<StartingIndex>0</StartingIndex><RequestedCount>9</RequestedCount><SortCriteria>+dc:title</SortCriteria>"
    for name, inner in ("Browse", browse + page), ("Search", search + page), ("GetSystemUpdateID", ""):
        yield name, (
            '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
            's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
            f'<u:{name} xmlns:u="{kind}">{inner}</u:{name}></s:Body></s:Envelope>'
        )


def descriptions():
    key = "rkeohxlubhyzl7ks3mwtzos5olfgocn7dwkbeg7toseadnapn5oa"
    node = (
        '<d:X_node xmlns:d="urn:deployctl-org:device-1-0"><d:name>ada</d:name>'
        f"<d:address>deploy://{key}@192.0.2.1:4800</d:address><d:programs>/programs.json</d:programs></d:X_node>"
    )
    service = (
        "<service><serviceType>urn:schemas-upnp-org:service:ContentDirectory:1</serviceType><serviceId>urn:x:1</serviceId>"
        "<SCPDURL>/scpd.xml</SCPDURL><controlURL>/control</controlURL><eventSubURL>/events</eventSubURL></service>"
    )
    device = "<deviceType>urn:schemas-upnp-org:device:MediaServer:1</deviceType><friendlyName>ada</friendlyName><UDN>uuid:0</UDN>"
    yield "device", (
        '<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>1</minor>'
        f"</specVersion><device>{device}{node}<serviceList>{service}</serviceList><deviceList><device>{device}</device>"
        "</deviceList></device></root>"
    )
    program = {"id": "tool", "name": "tool", "version": "1.0.0", "summary": "a tool", "platforms": ["linux-x86_64"]}
    yield "programs", json.dumps([program | {"license": "MIT", "size": 9, "enables": ["_door._tcp"], "changed": "2026-11-22T05:00:00.000Z"}])


CONFIG = """
[policy]
install = "ask"
programs = "auto"
confinement = "require"
[[policy.accept]]
answer = "auto"
role = "guest"
max-size = "10MiB"
[accounting]
interval = "5m"
[serve]
listen = "127.0.0.1:4800"
[build]
path = ["/opt/bin"]
[keep]
ended = "1d"
records = "90d"
[offer]
to = "anyone"
[content]
allow-categories = ["games"]
[tls]
ca = "ca.pem"
"""


def templates():
    for path in FIXTURES.glob("services/**/*.j2"):
        yield path.name, path.read_text()
    yield "loops", "{% for peer in roster.peers | default([]) %}{{ loop.index }}{{ peer.name | upper }}{% endfor %}{% macro a(x) %}{{ x }}{% endmacro %}{{ a(options.port) }}"
    yield "filters", "{{ options | tojson }}{{ [1,2,3] | batch(2) }}{{ 'a' ~ 1 * 2 ** 3 }}{% set x = range(10) %}{{ x | sum }}{{ 'a%s' | format(1) }}"


SEEDS = {
    "archive": archives,
    "callback": lambda: [("two", "<http://192.0.2.7:8000/event><http://192.0.2.7/other?x=1>"), ("time", "Second-1800")],
    "criteria": lambda: [
        ("compound", 'dc:title contains "a \\"b\\"" and (res@size <= "70" or upnp:class derivedfrom "object.item")'),
        ("exists", "upnp:class exists true"),
        ("sort", "+dc:title,-res@size,+d:version"),
        ("filter", "dc:title,res@size,@childCount,upnp:class"),
    ],
    "description": descriptions,
    "envelope": envelopes,
    "manifest": manifests,
    "mdns": messages,
    "soap": calls,
    "ssdp": datagrams,
    "config": lambda: [("whole", CONFIG)],
    "definition": definitions,
    "interface": interfaces,
    "ledger": ledgers,
    "patch": patches,
    "query": queries,
    "template": templates,
    "terms": terms,
    "transcript": transcripts,
    "txt": lambda: [
        ("node", "\0".join(["ada._deployctl._tcp.local.", "_deployctl._tcp", "ada.local.", "txtvers=1", "name=ada", f"key={KEYS[0]}"])),
        ("door", "\0".join(["Left door._door._tcp.local.", "_door._tcp", "door.local.", "ip=fe80::1", "port=80", "a=b"])),
    ],
    "words": lambda: [(str(number), word) for number, word in enumerate(WORDS)],
}


def main():
    for target in sys.argv[1:] or SEEDS:
        folder = HERE / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        kept = FIXTURES / "fuzz" / target
        found = [(path.name, path.read_bytes()) for path in kept.iterdir()] if kept.exists() else []
        for name, content in [*SEEDS[target](), *found]:
            (folder / name.replace("/", "-")).write_bytes(content.encode() if isinstance(content, str) else content)


if __name__ == "__main__":
    main()
