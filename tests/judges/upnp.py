"""A strict control point (async_upnp_client): finds the device, browses it, and follows its events.

Usage: upnp.py OWN_ADDRESS UDN EVENTS. Prints one JSON object a line.
"""

import asyncio
import json
import sys

from async_upnp_client.aiohttp import AiohttpNotifyServer, AiohttpRequester
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.search import async_search

CONTENT = "urn:schemas-upnp-org:service:ContentDirectory:1"


def tell(**said):
    print(json.dumps(said), flush=True)


async def find(own, udn):
    """The location of the device, from an answer to a search."""
    found = asyncio.get_running_loop().create_future()

    async def heard(headers):
        if headers.get("usn", "").startswith(udn) and not found.done():
            found.set_result(headers["location"])

    for _ in range(5):
        await async_search(heard, timeout=2, search_target=CONTENT, source=(own, 0))
        if found.done():
            return found.result()
    raise SystemExit("the device was not found")


async def main():
    own, udn, events = sys.argv[1], sys.argv[2], int(sys.argv[3])
    requester = AiohttpRequester()
    device = await UpnpFactory(requester).async_create_device(await find(own, udn))
    tell(found=device.udn, type=device.device_type, services=sorted(device.services))
    content = device.service(CONTENT)
    browse, search = content.action("Browse"), content.action("Search")
    page = dict(Filter="*", SortCriteria="")
    children = dict(page, ObjectID="0", BrowseFlag="BrowseDirectChildren")
    whole = await browse.async_call(StartingIndex=0, RequestedCount=0, **children)
    ones = [
        await browse.async_call(StartingIndex=at, RequestedCount=1, **children) for at in range(whole["TotalMatches"])
    ]
    tell(children=whole["TotalMatches"], paged=sum(one["NumberReturned"] for one in ones))
    found = await search.async_call(
        ContainerID="0", SearchCriteria='dc:title contains "ches"', StartingIndex=0, RequestedCount=0, **page
    )
    tell(matches=found["TotalMatches"], result=found["Result"])

    heard = asyncio.Queue()
    content.on_event = lambda _, variables: heard.put_nowait({one.name: one.value for one in variables})
    server = AiohttpNotifyServer(requester, source=(own, 0))
    await server.async_start_server()
    await server.event_handler.async_subscribe(content)
    for _ in range(events):
        tell(event=await asyncio.wait_for(heard.get(), 60))
    await server.event_handler.async_unsubscribe(content)
    await server.async_stop_server()


asyncio.run(main())
