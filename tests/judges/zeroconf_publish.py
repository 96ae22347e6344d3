"""A Zeroconf publisher (python-zeroconf): offers instances of a type until it is ended.

Usage: zeroconf_publish.py OWN_ADDRESS TYPE NAME=PORT … Prints {"event": "published", "name": …} for each, one a line.
"""

import json
import socket
import sys
import threading

from zeroconf import ServiceInfo, Zeroconf

own, kind = sys.argv[1], sys.argv[2]
zeroconf = Zeroconf(interfaces=[own])
for given in sys.argv[3:]:
    name, port = given.rsplit("=", 1)
    host = name.lower().replace(" ", "-") + ".local."
    zeroconf.register_service(
        ServiceInfo(
            kind, f"{name}.{kind}", int(port), addresses=[socket.inet_aton(own)], server=host, properties={"path": "/on", "flag": None}
        )
    )
    print(json.dumps({"event": "published", "name": name}), flush=True)
threading.Event().wait()
