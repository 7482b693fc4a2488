"""All buckets of one origin, and which route group draws on which. Pure.

Route groups start in one bucket, because one budget behind all of them is the usual case and the safe assumption. A
group gets a bucket of its own when answers prove that it has a budget of its own:

* its first answer shows quotas of which the bucket knows none, or
* in one window several groups were each shown exactly what its own requests left of the limit, and that is more than
  all of them together can have left (twice, with nothing to the contrary in between).

So that such windows come about, groups that wait at the same time take turns (``lane``).

Two buckets become one when the reverse is seen three times: a quota of the same name and limit fell by more than its
bucket can have sent, and by no more than both have, or was used up although its bucket cannot have done it alone.
"""

from attrs import define, field

from aiocircle.ratelimit.bucket import Bucket, Reason, Ticket, name_of
from aiocircle.ratelimit.facts import RateFacts
from aiocircle.ratelimit.quota import Quota

SPLIT_AFTER = 2  # times
MERGE_AFTER = 3


@define(eq=False)
class Track:
    """What a group's last answer showed of a quota, and the counts at that moment."""

    room: int
    at: float
    bucket_answered: int
    elsewhere: int


@define(eq=False)
class Tally:
    """What a group did in one window of a quota, and the least it was shown."""

    window: int
    least: int
    accepted: int = 0
    doubtful: bool = False


@define(eq=False)
class Group:
    """A route group: its own counts, and the number of its bucket."""

    bucket: int = 0
    sent: int = 0
    answered: int = 0
    settled: bool = False
    alone: int = 0
    joint: int = 0
    tracks: dict[str, Track] = field(factory=dict)
    tallies: dict[str, Tally] = field(factory=dict)


@define(eq=False)
class Budget:
    """The buckets of one origin; the pure state behind a limiter's waiting.

    Args:
        metered: An API, limited from the start; ``False`` for hosts of files.
        share: Use only one part in so many of every quota, since so many others use it unseen.
    """

    metered: bool = True
    share: int = 1
    buckets: dict[int, Bucket] = field(factory=dict)
    groups: dict[str, Group] = field(factory=dict)

    def bucket_of(self, group: str) -> Bucket:
        """Return the bucket on which a route group draws."""
        state = self.groups.get(group)
        number = state.bucket if state is not None else 0
        bucket = self.buckets.get(number)
        if bucket is None:
            bucket = self.buckets[number] = Bucket(number=number, metered=self.metered, share=self.share)
        return bucket

    def ready_at(self, now: float, group: str, waiting: int = 1) -> tuple[float, Reason]:
        """Return when the next request of a group may leave, and what it waits for; see ``Bucket.ready_at``."""
        return self.bucket_of(group).ready_at(now, group, waiting)

    def send(self, now: float, group: str) -> Ticket:
        """Take a token. Only right after ``ready_at`` allowed it."""
        bucket = self.bucket_of(group)
        state = self.groups.get(group)
        if state is None:
            state = self.groups[group] = Group(bucket.number)
        ticket = bucket.send(now, group)
        state.sent += 1
        return ticket

    def withdraw(self, ticket: Ticket) -> None:
        """Give back a token whose request never left."""
        self.groups[ticket.group].sent -= 1
        self.bucket_of(ticket.group).withdraw(ticket)

    def lost(self, ticket: Ticket, now: float) -> None:
        """Record that no answer will come."""
        self.groups[ticket.group].answered += 1
        self.bucket_of(ticket.group).lost(ticket, now)

    def answer(self, ticket: Ticket, facts: RateFacts, now: float, *, refused: bool, jitter: float = 0.5) -> None:
        """Learn from an answer; see ``Bucket.answer``."""
        group = self.groups[ticket.group]
        group.answered += 1
        if not group.settled and facts.quotas:
            group.settled = True
            if self._is_foreign(group, facts):
                self._split(ticket.group, group, group.sent - group.answered + 1)
        bucket = self.buckets[group.bucket]
        if ticket.bucket != bucket.number:  # it left on another bucket's account: what that knew proves nothing here
            ticket.bucket, ticket.marks, ticket.answered_at_send, ticket.alone = bucket.number, {}, 0, False
        bucket.answer(ticket, facts, now, refused=refused, jitter=jitter)
        if len(self.groups) > 1:
            self._compare(ticket, group, bucket, facts, now, refused=refused)

    def _is_foreign(self, group: Group, facts: RateFacts) -> bool:
        known = {(name, quota.limit) for name, quota in self.buckets[group.bucket].quotas.items()}
        shown = {(name_of(fact), fact.limit) for fact in facts.quotas}
        return bool(known) and not known & shown

    def _compare(
        self, ticket: Ticket, group: Group, bucket: Bucket, facts: RateFacts, now: float, *, refused: bool
    ) -> None:
        """Hold what a group's answer shows against its last one: whose requests made the remaining fall?"""
        for fact in facts.quotas:
            if fact.remaining is None:
                continue
            name = name_of(fact)
            last = group.tracks.get(name)
            elsewhere = self._sent_elsewhere(name, fact.limit, bucket)
            if last is not None and ticket.sent_at >= last.at:
                self._weigh(group, bucket, last, last.room - fact.remaining, elsewhere - last.elsewhere)
            group.tracks[name] = Track(
                fact.remaining,
                now,
                ticket.answered_at_send,
                elsewhere,
            )
            if refused:
                if last is not None and fact.remaining == 0 and elsewhere > last.elsewhere:
                    group.joint += bucket.sent - last.bucket_answered < (fact.limit or 0)
                continue
            self._tally(ticket, group, bucket.quotas[name], name, fact.remaining, now)
            if bucket.in_flight == 0:
                self._balance(bucket, name, fact.limit)
        dripping = any(quota.drips for quota in bucket.quotas.values())
        if group.alone >= SPLIT_AFTER and not dripping and self._has_others(group):
            self._split(ticket.group, group, group.sent - group.answered)
        elif group.joint >= MERGE_AFTER:
            self._merge(group, bucket, facts)

    def _weigh(self, group: Group, bucket: Bucket, last: Track, drop: int, sent_elsewhere: int) -> None:
        most_of_all = bucket.sent - last.bucket_answered - 1
        if most_of_all < drop <= most_of_all + sent_elsewhere:
            group.joint += 1
        elif drop > most_of_all + sent_elsewhere:
            group.joint = 0

    def _tally(self, ticket: Ticket, group: Group, quota: Quota, name: str, room: int, now: float) -> None:
        tally = group.tallies.get(name)
        if tally is None or tally.window != quota.refills:
            tally = group.tallies[name] = Tally(quota.refills, room)
        mark = ticket.marks.get(name)
        tally.accepted += 1
        tally.least = min(tally.least, room)
        if quota.learnt_at != now and (mark is None or mark.refills != quota.refills):
            tally.doubtful = True  # it may have been counted in the window before

    def _balance(self, bucket: Bucket, name: str, limit: int | None) -> None:
        """With nothing under way: did this window's requests count together, or each group's for itself?"""
        window = bucket.quotas[name].refills
        mine = [
            (group, group.tallies[name])
            for group in self.groups.values()
            if group.bucket == bucket.number and name in group.tallies and group.tallies[name].window == window
        ]
        if limit is None or len(mine) <= 1 or any(tally.doubtful for _, tally in mine):
            return
        left = limit - sum(tally.accepted for _, tally in mine)
        if min(tally.least for _, tally in mine) <= left:
            for group, _ in mine:
                group.alone = 0
        elif all(tally.least + tally.accepted == limit for _, tally in mine):
            for group, _ in mine:
                group.alone += 1

    def _sent_elsewhere(self, name: str, limit: int | None, here: Bucket) -> int:
        return sum(
            bucket.sent
            for bucket in self.buckets.values()
            if bucket is not here and name in bucket.quotas and bucket.quotas[name].limit == limit
        )

    def _has_others(self, group: Group) -> bool:
        return any(other.bucket == group.bucket for other in self.groups.values() if other is not group)

    def _split(self, name: str, group: Group, under_way: int) -> None:
        """Give a group a bucket of its own, with what it has under way."""
        old = self.buckets[group.bucket]
        old.answered += under_way
        old.cold.pop(name, None)
        for quota in old.quotas.values():
            if name in quota.groups:
                quota.groups.remove(name)
        number = max(self.buckets) + 1
        mine = Bucket(number=number, metered=self.metered, share=self.share, sent=under_way)
        mine.paused_until, mine.paused_at = old.paused_until, old.paused_at
        self.buckets[number] = mine
        group.bucket, group.alone, group.joint, group.tracks, group.tallies = number, 0, 0, {}, {}

    def _merge(self, group: Group, bucket: Bucket, facts: RateFacts) -> None:
        """Make one bucket of this one and the one that shows the same quota and sent most."""
        names = {(name_of(fact), fact.limit) for fact in facts.quotas}
        others = [
            other
            for other in self.buckets.values()
            if other is not bucket and names & {(name, quota.limit) for name, quota in other.quotas.items()}
        ]
        group.joint = 0
        if not others:
            return
        kept = max(others, key=lambda other: other.sent)
        for name, quota in bucket.quotas.items():
            twin = kept.quotas.get(name)
            if twin is not None and twin.limit == quota.limit:
                credit = max(0, min(quota.credit(bucket.sent), twin.credit(kept.sent)) - bucket.in_flight)
                twin.ceiling = min(twin.ceiling, kept.sent + bucket.in_flight + credit)
                twin.groups += [each for each in quota.groups if each not in twin.groups]
            elif twin is None:
                quota.ceiling += kept.sent + bucket.in_flight - bucket.sent
                quota.cap += kept.sent + bucket.in_flight - bucket.sent
                kept.quotas[name] = quota
        kept.sent += bucket.in_flight
        kept.paused_until = max(kept.paused_until, bucket.paused_until)
        kept.warm += [each for each in bucket.warm if each not in kept.warm]
        for other in self.groups.values():
            if other.bucket == bucket.number:
                other.bucket, other.alone, other.joint, other.tracks = kept.number, 0, 0, {}
        del self.buckets[bucket.number]
