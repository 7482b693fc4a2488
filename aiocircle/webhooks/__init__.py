"""Receiving CircleCI's outbound webhooks: is it genuine, what happened, and which artifacts are there now.

::

    hook = webhook_handler(secret, on_event)  # async def on_event(event: WebhookEvent) -> None
    hook.add_to(app, "/circleci")  # an aiohttp.web application

What a receiver can rely on, and what follows from it (CircleCI's reference of outbound webhooks):

* Anybody may call a public address. Only the signature, an HMAC of the bytes as they came, tells who called; so nothing
  is read out of a body before it is verified, and nothing is verified that was parsed and written again.
* There is no time in what is signed, so an old delivery can be played again. The event's id tells, as it does for the
  deliveries that CircleCI itself repeats.
* CircleCI waits ten seconds and repeats what was not answered with 2xx. So the answer comes before the work; and what
  cannot be taken on now is refused with 503, which costs nothing but a repetition.

Other servers than aiohttp's need two functions: ``verify`` and ``parse_event``.
"""

from aiocircle.webhooks.events import (
    JobCompleted,
    Ping,
    WebhookEvent,
    WorkflowCompleted,
    parse_event,
)
from aiocircle.webhooks.handler import WebhookHandler, webhook_handler
from aiocircle.webhooks.signature import SIGNATURE_HEADER, verify

__all__ = [
    "SIGNATURE_HEADER",
    "JobCompleted",
    "Ping",
    "WebhookEvent",
    "WebhookHandler",
    "WorkflowCompleted",
    "parse_event",
    "verify",
    "webhook_handler",
]
