"""What the simulated people do: each share's story, from its creation to the end of its cascade of views.

The mix is the spec's where it has one: channels ("Looker Dashboard", tile 4), 68 % on mobile, and per share about 3.6
views and 0.7 copied items ("Performance Benchmarks"). The rest is judgement, written down as constants.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from ops.simulation.world import COUNTRIES, Item, Person, Wishlist, World
from schemas.event import Channel, EventType
from schemas.ids import share_token_of

MOBILE = 0.68
CHANNELS = {
    Channel.COPY_LINK: 45,
    Channel.WHATSAPP: 25,
    Channel.EMAIL: 15,
    Channel.FACEBOOK: 10,
    Channel.TWITTER: 5,
}
# By channel: people that the owner reaches, and how many each of them sends the link on to.
_REACH = {
    Channel.COPY_LINK: (1.7, 0.22),
    Channel.WHATSAPP: (2.4, 0.28),
    Channel.EMAIL: (1.3, 0.10),
    Channel.FACEBOOK: (3.0, 0.30),
    Channel.TWITTER: (2.6, 0.38),
}
_PREVIEW_FETCHERS: dict[Channel, tuple[str, ...]] = {
    Channel.WHATSAPP: ("WhatsApp/2.23.20 A",),
    Channel.FACEBOOK: ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",),
    Channel.TWITTER: ("Twitterbot/1.0",),
    Channel.COPY_LINK: (
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        "TelegramBot (like TwitterBot)",
        "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    ),
}
_FETCHED = {Channel.WHATSAPP: 0.95, Channel.FACEBOOK: 0.95, Channel.TWITTER: 0.95, Channel.COPY_LINK: 0.25}
_REFERRERS: dict[Channel, tuple[str, ...]] = {
    Channel.COPY_LINK: ("", "", "", "https://www.reddit.com"),
    Channel.WHATSAPP: ("", "", "https://web.whatsapp.com"),
    Channel.EMAIL: ("", "https://mail.google.com", "https://outlook.live.com"),
    Channel.FACEBOOK: ("https://l.facebook.com", "https://m.facebook.com"),
    Channel.TWITTER: ("https://t.co",),
}
_MOBILE_AGENTS = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Version/17.0 Mobile Safari/604.1",
    "Mozilla/5.0 (Linux; Android 13; Pixel 7) AppleWebKit/537.36 Chrome/117.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 12; SM-G991B) AppleWebKit/537.36 Chrome/116.0 Mobile Safari/537.36",
)
_WEB_AGENTS = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/117.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/117.0 Safari/537.36 Edg/117.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:117.0) Gecko/20100101 Firefox/117.0",
)
# How busy each hour of a day is, in local time: quiet nights, a lunch break, long evenings.
_HOURS = (2, 1, 1, 1, 1, 2, 4, 6, 7, 7, 7, 8, 9, 8, 7, 7, 8, 9, 11, 13, 14, 13, 9, 5)
_SECOND, _HOUR, _DAY = 1_000, 3_600_000, 86_400_000
_SIGNED_IN = 0.35
_NEWCOMER = 0.2  # of those who sign in
_ADDS = 0.5  # of those who have signed in
_COMES_BACK = 0.22
_SAME_COUNTRY = 0.82
_HIDES_ITEMS = 0.15
_TOGGLES = 0.08
_CHANGES_EXPIRY = 0.03
_REVOKES = 0.04
_MOST_SHARES_OF_ONE = 15  # fewer than the API allows in an hour
_LARGEST_CASCADE = 400
_QUIET = {(12, 26), (12, 31), (1, 1)}
# Somebody who loads one list over and over, as a person's browser would: many views, one visitor.
_HAMMERED = 0.003


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who does something, and with what. *key* tells visitors of one simulation apart; 0 is the owner."""

    key: int
    person: Person | None
    country: str
    user_agent: str
    referrer: str
    platform: str
    variant: str | None
    is_bot: bool = False


@dataclass(slots=True)
class Act:
    """One thing that happens to a share, at a time in ms since 1970, with what its list shows by then."""

    at: int
    kind: EventType
    visitor: Visitor
    visible: tuple[Item, ...] = ()
    expires_at: int | None = None
    item: Item | None = None
    shown: bool | None = None
    makes_list: bool = False
    chance: float = 0.0


@dataclass(slots=True)
class Story:
    """One share and all its acts, oldest first; the first one is its creation."""

    number: int
    owner: Person
    wishlist: Wishlist
    channel: Channel
    token: str
    hidden: tuple[Item, ...]
    expires_in_days: int | None
    acts: list[Act] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """The stories of one simulation. *name* tells it from any other: seed, size and end."""

    name: str
    stories: list[Story]

    def in_time(self) -> Iterator[tuple[Story, int, Act]]:
        """Every act with its place in its story, in the order of time."""
        acts = [(act.at, story.number, place) for story in self.stories for place, act in enumerate(story.acts)]
        acts.sort()
        for _, number, place in acts:
            story = self.stories[number]
            yield story, place, story.acts[place]


def make(seed: int, events: int, until: datetime, days: int, world: World) -> Plan:
    """Exactly *events* acts within the *days* before *until*; the same for the same arguments."""
    end = int(until.astimezone(UTC).timestamp()) * 1_000
    name = f"{seed}:{events}:{days}:{end}"
    teller = _Teller(random.Random(name), world, end - days * _DAY, end)
    stories: list[Story] = []
    left = events
    while left > 0:
        digest = hashlib.sha256(f"{name}:token:{len(stories)}".encode()).digest()
        story = teller.tell(len(stories), share_token_of(int.from_bytes(digest[:16], "big")))
        del story.acts[left:]
        left -= len(story.acts)
        stories.append(story)
    return Plan(name, stories)


class _Teller:
    def __init__(self, dice: random.Random, world: World, start: int, end: int) -> None:
        self._dice = dice
        self._world = world
        self._start, self._end = start, end
        self._days = [start + n * _DAY for n in range((end - start) // _DAY)]
        self._busy = [busyness(moment(day).date()) for day in self._days]
        self._shares = [0] * len(world.owners)
        # A newcomer copies from one share only, so that the event that makes their list comes before the others.
        self._newcomers = iter(world.newcomers)
        self._visitors = 0

    def tell(self, number: int, token: str) -> Story:
        dice = self._dice
        owner = self._owner()
        assert owner.wishlist is not None
        items = owner.wishlist.items
        channel = dice.choices(list(CHANNELS), list(CHANNELS.values()))[0]
        hidden = (
            tuple(dice.sample(items, min(len(items) - 1, dice.choice((1, 1, 2))))) if self._may(_HIDES_ITEMS) else ()
        )
        expires_in_days = dice.choices((30, 7, None), (80, 12, 8))[0]
        story = Story(number, owner, owner.wishlist, channel, token, hidden, expires_in_days)
        at_home = self._visitor(owner, owner.country, "")
        created = Act(self._moment(owner.country), EventType.CREATED, at_home)
        acts = [created, *self._preview_fetches(story, created.at), *self._cascade(story, created.at)]
        acts += [*self._hammering(story, created.at), *self._of_owner(story, at_home, created.at)]
        acts.sort(key=lambda act: act.at)
        story.acts = self._lived(story, acts)
        return story

    def _may(self, chance: float) -> bool:
        return self._dice.random() < chance

    def _owner(self) -> Person:
        """Some share far more than others, nobody more than the API allows."""
        count = len(self._world.owners)
        for _ in range(50):
            number = int(count * self._dice.random() ** 1.7)
            if self._shares[number] < _MOST_SHARES_OF_ONE:
                self._shares[number] += 1
                return self._world.owners[number]
        return self._world.owners[self._dice.randrange(count)]

    def _moment(self, country: str) -> int:
        hour = self._dice.choices(range(24), _HOURS)[0] - COUNTRIES[country][2]
        return self._dice.choices(self._days, self._busy)[0] + hour % 24 * _HOUR + self._dice.randrange(_HOUR)

    def _delay(self, median: float, sigma: float = 1.6) -> int:
        return _SECOND + int(self._dice.lognormvariate(math.log(median), sigma))

    def _poisson(self, mean: float) -> int:
        """Knuth's way; the means are small."""
        limit, product, count = math.exp(-mean), self._dice.random(), 0
        while product > limit:
            product *= self._dice.random()
            count += 1
        return count

    def _visitor(self, person: Person | None, country: str, referrer: str) -> Visitor:
        self._visitors += 1
        mobile = self._may(MOBILE)
        return Visitor(
            key=self._visitors,
            person=person,
            country=country,
            user_agent=self._dice.choice(_MOBILE_AGENTS if mobile else _WEB_AGENTS),
            referrer=referrer,
            platform="mobile" if mobile else "web",
            variant=person.variant if person else None,
        )

    def _preview_fetches(self, story: Story, at: int) -> Iterator[Act]:
        """The machines that draw a link's card, seconds after it was sent."""
        if self._may(_FETCHED.get(story.channel, 0)):
            agent = self._dice.choice(_PREVIEW_FETCHERS[story.channel])
            self._visitors += 1
            robot = Visitor(self._visitors, None, "US", agent, "", "web", None, is_bot=True)
            yield Act(at + self._delay(2_500, 0.6), EventType.VIEWED, robot)

    def _cascade(self, story: Story, created: int) -> Iterator[Act]:
        reached, sent_on = _REACH[story.channel]
        waiting = [created] * self._poisson(reached)
        seen = 0
        while waiting and seen < _LARGEST_CASCADE:
            at = waiting.pop() + self._delay(2 * _HOUR)
            seen += 1
            if at < self._end:
                yield from self._visit(story, at)
                waiting += [at] * self._poisson(sent_on)

    def _visit(self, story: Story, at: int) -> Iterator[Act]:
        dice = self._dice
        same = self._may(_SAME_COUNTRY)
        country = story.owner.country if same else dice.choices(list(COUNTRIES), [c[0] for c in COUNTRIES.values()])[0]
        person = self._reader(story.owner) if self._may(_SIGNED_IN) else None
        visitor = self._visitor(person, person.country if person else country, dice.choice(_REFERRERS[story.channel]))
        yield Act(at, EventType.VIEWED, visitor)
        if person and self._may(_ADDS):
            adds = at
            while True:
                adds += self._delay(40 * _SECOND, 0.8)
                yield Act(adds, EventType.ITEM_ADDED, visitor, chance=dice.random())
                if not self._may(0.3):
                    break
        while self._may(_COMES_BACK):
            at += self._delay(9 * _HOUR, 1.2)
            yield Act(at, EventType.VIEWED, visitor)

    def _reader(self, owner: Person) -> Person | None:
        if self._may(_NEWCOMER) and (person := next(self._newcomers, None)):
            return person
        person = self._dice.choice(self._world.owners)
        return None if person is owner else person

    def _hammering(self, story: Story, created: int) -> Iterator[Act]:
        """Abuse that no list of programs knows."""
        if self._may(_HAMMERED):
            visitor = self._visitor(None, self._dice.choice(list(COUNTRIES)), "")
            at = created + self._delay(_DAY, 0.8)
            for _ in range(self._dice.randrange(30, 120)):
                at += self._delay(4 * _SECOND, 0.5)
                yield Act(at, EventType.VIEWED, visitor)

    def _of_owner(self, story: Story, owner: Visitor, created: int) -> Iterator[Act]:
        dice = self._dice
        if self._may(_TOGGLES):
            item, at = dice.choice(story.wishlist.items), created + self._delay(6 * _HOUR)
            yield Act(at, EventType.SETTINGS_CHANGED, owner, item=item, shown=item in story.hidden)
            if self._may(0.4):
                again = at + self._delay(_DAY, 0.8)
                yield Act(again, EventType.SETTINGS_CHANGED, owner, item=item, shown=item not in story.hidden)
        if self._may(_CHANGES_EXPIRY):
            yield Act(created + self._delay(_DAY, 0.8), EventType.SETTINGS_CHANGED, owner)
        if self._may(_REVOKES):
            yield Act(created + self._delay(_DAY, 1.2), EventType.REVOKED, owner)

    def _lived(self, story: Story, acts: list[Act]) -> list[Act]:
        """What comes true of *acts*: up to revocation, expiry or the end of time, each with what could be seen."""
        days = story.expires_in_days
        expires_at = None if days is None else acts[0].at // _SECOND * _SECOND + days * _DAY
        hidden = {item.id for item in story.hidden}
        visible = tuple(item for item in story.wishlist.items if item.id not in hidden)
        copied: set[tuple[int, str]] = set()
        has_list: set[int] = set()
        lived: list[Act] = []
        for act in acts:
            if act.at >= self._end or (expires_at is not None and act.at >= expires_at):
                break
            if act.kind is EventType.SETTINGS_CHANGED and act.item is None:
                expires_at = None if expires_at else act.at + 30 * _DAY
            elif act.kind is EventType.SETTINGS_CHANGED and act.item is not None:
                (hidden.discard if act.shown else hidden.add)(act.item.id)
                visible = tuple(item for item in story.wishlist.items if item.id not in hidden)
            elif act.kind is EventType.ITEM_ADDED:
                if not visible:
                    continue
                act.item = visible[int(act.chance * len(visible))]
                if (act.visitor.key, act.item.product_id) in copied:
                    continue
                copied.add((act.visitor.key, act.item.product_id))
                person = act.visitor.person
                act.makes_list = person is not None and person.wishlist is None and act.visitor.key not in has_list
                has_list.add(act.visitor.key)
            act.visible, act.expires_at = visible, expires_at
            lived.append(act)
            if act.kind is EventType.REVOKED:
                return lived
        if expires_at is not None and expires_at < self._end:
            nobody = Visitor(0, None, "", "", "", "unknown", None)
            lived.append(Act(expires_at, EventType.EXPIRED, nobody, visible, expires_at))
        return lived


def busyness(day: date) -> float:
    """How much more is shared on *day* than on a plain one: gifts are for seasons, and lists for weekends."""
    before_christmas = (date(day.year, 12, 25) - day).days
    season = 1.0
    if 0 < before_christmas <= 40:
        season += 1.5 * (1 - abs(before_christmas - 12) / 40)  # the last parcels leave some days before
    elif before_christmas == 0 or (day.month, day.day) in _QUIET:
        season = 0.4
    elif day.month == 2 and day.day <= 13:
        season += 0.5 * day.day / 13
    if day.month == 11 and 23 <= day.day <= 30 and day.weekday() in {4, 0}:
        season += 1.2  # Black Friday and Cyber Monday
    return season * (1.25 if day.weekday() >= 5 else 1.0)


def default_end(now: datetime) -> datetime:
    """The last midnight, UTC: runs of one day agree on it."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(ms: int) -> datetime:
    """Milliseconds since 1970 as a time."""
    return EPOCH + timedelta(milliseconds=ms)
