"""A Zeroconf browser (python-zeroconf): tells what instances come and go, until it is ended.

Usage: zeroconf_browse.py OWN_ADDRESS TYPE... Prints one JSON object a line.
"""

import json
import sys
import threading

from zeroconf import ServiceBrowser, ServiceListener, Zeroconf


# Each browser has a thread of its own, and `print` writes a line and its end apart.
telling = threading.Lock()


def tell(**said):
    with telling:
        print(json.dumps(said), flush=True)


class Listener(ServiceListener):
    def add_service(self, zeroconf, kind, name):
        info = zeroconf.get_service_info(kind, name, timeout=5000)
        if info is not None:
            text = {key.decode(): (value or b"").decode() for key, value in info.properties.items()}
            tell(event="found", type=kind, name=name, addresses=info.parsed_addresses(), port=info.port, txt=text)

    def update_service(self, zeroconf, kind, name):
        pass

    def remove_service(self, zeroconf, kind, name):
        tell(event="gone", type=kind, name=name)


zeroconf = Zeroconf(interfaces=[sys.argv[1]])
browsers = [ServiceBrowser(zeroconf, kind, Listener()) for kind in sys.argv[2:]]
threading.Event().wait()
