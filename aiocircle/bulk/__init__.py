"""Requests for files on aiohttp's connections, without its client's objects and, for usual answers, its parser.

Those cost more than everything else about a small file together. Connecting (names, TLS, its timeout) is aiohttp's own;
here is what lies between: one GET without a body, one answer, and the connection kept for the next one. What fails is
raised as aiohttp raises it.

All lines receive into one landing buffer, since each is done with it before the loop turns to the next. A usual head
(`aiocircle.heads`) is read there, and what came of the body with it is copied out of it once. The rest comes by an
`Inflow`. An answer with an unusual head is left to aiohttp's parser together with its connection, which
comes back when the answer is over.

A host that sends nothing is noticed by one timer for all connections, which looks for waits that last too long: a timer
for each wait would have to be set and cancelled several times a file. The same look notices a body that comes by drips:
too few bytes in a period in which each look found the reader waiting. A reader that is busy is not the host's fault,
nor is a buffer that fills slowly silence: what counts are bytes.
"""
