"""The mailbox between workers and the driver, without Ray: what it does with requests and replies."""

import asyncio

from bench.execute.ray_mailbox import Mailbox


def test_each_request_gets_its_own_reply():
    async def talk():
        mailbox = Mailbox()
        asked = [asyncio.ensure_future(mailbox.ask("double", number)) for number in (3, 4)]
        requests = []
        while len(requests) < 2:
            requests += await mailbox.requests(1.0)
        await mailbox.reply({request.number: 2 * request.arguments[0] for request in reversed(requests)})
        return [request.method for request in requests], await asyncio.gather(*asked)

    assert asyncio.run(talk()) == (["double"] * 2, [6, 8])


def test_a_reply_to_a_request_that_is_not_known_any_more_is_dropped():
    """As after the mailbox was lost: the request is put anew, under another number."""

    async def talk():
        mailbox = Mailbox()
        await mailbox.reply({"of another life": "late"})
        return await mailbox.requests(0.01)

    assert asyncio.run(talk()) == []
