"""The built-in corpus: original children's stories told by a small seeded grammar, with nothing to download.

A story is cast first (who, where, when, which weather, what the hero likes and fears, what is counted), then one plot
is expanded with that cast. The words, phrases and plots are data in `story_words`; this file is the engine.

Notable: a slot is drawn once and remembered, so a color, a hiding place or a name told early is the one told late; a
person or pet is introduced at the first mention ("her cousin Otto") and named afterwards ("Otto"), in whatever order
the scenes come. Only `random.Random.random()` is used, whose sequence is the same on every Python version.

The grammar's notation, one rule a paragraph (a name, then `- ` alternatives or `: word | word`):

    {color}      the story's colour: drawn from the rule `color` at first use, the same ever after; {color2} is another
    {~cheer}     drawn anew at each use, not the one used before in this story
    {ask@trait}  drawn anew from the rule `ask@shy`, `ask@bold`, ... of the story's trait
    {^thing}     with a capital first letter
    [red|blue|]  one of these, here nothing being one of them
    <x;y;z>      all of these, in any order, a space between
    //           end of a paragraph
    &            goes on with the sentence of the quotation before it: no capital
    %            in a rule's name: one rule each for the persons a, b, c and g
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import TypeVar

from mlx_autoresearch.corpus import story_words as words

STORY_COUNT = 20_000
"""Stories of the default corpus, about 20 MB."""

WORD_LIMITS = (80, 300)
"""Fewest and most words of a story; one that comes out shorter or longer is told anew."""

HEROS = "(whose)"
"""Stands in an introduction for the hero's name or pronoun."""

Item = TypeVar("Item")


@dataclass
class Story:
    """One story being told: its random numbers and everything already decided.

    Attributes:
        draw: returns the next random number in [0, 1).
        values: what a slot says from now on.
        introductions: what a name's slot says at its first use only.
        used: alternatives already told, as (rule, index).
    """

    draw: Callable[[], float]
    values: dict[str, str] = field(default_factory=dict)
    introductions: dict[str, str] = field(default_factory=dict)
    used: set[tuple[str, int]] = field(default_factory=set)

    def pick(self, items: list[Item] | tuple[Item, ...]) -> Item:
        """One of `items`, all equally likely."""
        return items[int(self.draw() * len(items))]


Part = str | Callable[[Story], str]
Rules = dict[str, list[list[Part]]]


def generate_stories(seed: int, count: int) -> Iterator[str]:
    """Tell `count` stories; the same seed gives the same stories, and a longer run begins with the shorter one.

    A story is 80 to 300 words of ASCII text; paragraphs, where it has any, are separated by a blank line.
    """
    rules = grammar()
    draw = Random(seed).random
    for _ in range(count):
        yield tell(rules, draw)


def tell(rules: Rules, draw: Callable[[], float]) -> str:
    """One story within `WORD_LIMITS`."""
    while True:
        story = cast(draw)
        plot = story.values["plot"]
        text = finish(render(story.pick(rules[f"plot.{plot}"]), story), story)
        if WORD_LIMITS[0] <= text.count(" ") + text.count("\n\n") + 1 <= WORD_LIMITS[1]:
            return text


# --- Casting: who, where, when ---------------------------------------------------------------------------------------


def cast(draw: Callable[[], float]) -> Story:
    """A story with its plot, persons, place, weather and numbers decided, and nothing told yet."""
    story = Story(draw)
    plot = story.pick(words.PLOTS)
    world = "animals" if draw() < words.ANIMAL_SHARE and plot not in words.PEOPLE_PLOTS else "people"
    season = story.pick(words.PLOT_SEASONS.get(plot, words.SEASONS))
    story.values.update(plot=plot, world=world, season=season, trait=story.pick(words.TRAITS))
    story.values["weather"] = story.pick(words.PLOT_WEATHERS.get(plot, words.WEATHERS[season]))
    hint = story.pick(words.HINTS[world])
    story.values["hint"] = "none" if hint == "fear" and plot not in words.TRAVEL_PLOTS else hint
    story.values.update(words.WORLD_WORDS[world])
    cast_children(story, world)
    cast_grown_up(story, world)
    cast_place(story, world, season)
    cast_things(story)
    return story


def cast_children(story: Story, world: str) -> None:
    """Cast the hero a, the friend b (of the other sex two times out of three) and a third child c."""
    hero_is_girl = story.draw() < 0.5
    girls = (hero_is_girl, hero_is_girl == (story.draw() < 0.33), story.draw() < 0.5)
    taken: list[str] = []
    kinds: list[str] = []
    for person, girl in zip("abc", girls, strict=True):
        name = another(story, words.GIRLS if girl else words.BOYS, taken)
        kind = another(story, words.HERO_ANIMALS, kinds) if world == "animals" else ("girl" if girl else "boy")
        story.values.update(pronouns(girl)[person])
        story.values.update({person: name, f"{person}.name": name, f"{person}.kind": kind})
    values = story.values
    relation = story.pick(words.RELATIONS[girls[1]])
    if world == "animals":
        relation = "friend"
        values["b"], values["c"] = f"{values['b']} the {values['b.kind']}", f"{values['c']} the {values['c.kind']}"
    introduce(story, "a", values["a"], values["a"])
    introduce(story, "b", f"{HEROS} {relation} {values['b']}", values["b.name"])
    who = values["c"] if world == "animals" else f"a {values['c.kind']} named {values['c']}"
    introduce(story, "c", who, values["c.name"])


def cast_grown_up(story: Story, world: str) -> None:
    """Cast the grown-up g and, among people, the pet p."""
    name, introduction, is_woman = story.pick(words.GROWN_UPS[world])
    story.values.update(pronouns(is_woman)["g"])
    story.values["g.name"] = name
    introduce(story, "g", introduction, name)
    pet = story.pick(words.PETS)
    pet_name = story.pick(words.PET_NAMES)
    introduce(story, "p", f"{HEROS} {pet} {pet_name}", pet_name)


def cast_place(story: Story, world: str, season: str) -> None:
    """Cast the place, with three different spots in it where things can be."""
    place = story.pick([place for place in words.PLACES[world] if season in place.seasons])
    story.values.update(place=place.name, at=place.at, detail=story.pick(place.details), ground=place.ground)
    taken: list[str] = []
    for slot in ("spot", "spot2", "spot3"):
        story.values[slot] = another(story, place.spots, taken)


def cast_things(story: Story) -> None:
    """Cast what belongs together: numbers, the animal and its trouble, what is liked, what grows from the seeds."""
    many = 5 + int(story.draw() * 5)
    few = 2 + int(story.draw() * (many - 3))
    values = story.values
    values.update(many=words.NUMBERS[many], few=words.NUMBERS[few], left=words.NUMBERS[many - few])
    values.update(total=words.NUMBERS[many + few], one_less=words.NUMBERS[many - 1], one_more=words.NUMBERS[many + 1])
    for slots, table in words.ROWS.items():
        values.update(zip(slots, story.pick(table), strict=True))


def introduce(story: Story, person: str, introduction: str, name: str) -> None:
    """Let the slot of `person` say `introduction` once, `name` afterwards."""
    story.introductions[person] = introduction
    story.values[person] = name


def another(story: Story, items: tuple[str, ...], taken: list[str]) -> str:
    """One of `items` that is not in `taken`; it is added there."""
    while True:
        item = story.pick(items)
        if item not in taken:
            taken.append(item)
            return item


@lru_cache(maxsize=2)
def pronouns(female: bool) -> dict[str, dict[str, str]]:
    """For each person, the slots `a.he`, `a.him`, `a.his`, `a.himself` in her or his form."""
    names = ("he", "him", "his", "himself")
    forms = ("she", "her", "her", "herself") if female else ("he", "him", "his", "himself")
    return {person: {f"{person}.{n}": form for n, form in zip(names, forms, strict=True)} for person in "abcg"}


# --- The grammar: from text to rules ---------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def grammar() -> Rules:
    """The rules of `story_words`, parsed: each a list of alternatives, each a list of text and of functions."""
    rules: Rules = {}
    for name, alternatives in read_rules(words.PHRASES + words.SCENES).items():
        for person in "abcg" if "%" in name else ("",):
            texts = [text.replace("%", person) if person else text for text in alternatives]
            rules[name.replace("%", person)] = [parse(text, rules) for text in texts]
    return rules


def read_rules(text: str) -> dict[str, list[str]]:
    """Rule name to the texts of its alternatives."""
    rules: dict[str, list[str]] = {}
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        first, *rest = paragraph.strip().split("\n")
        if ": " in first:
            name, first = first.split(": ", 1)
            rules[unused(name, rules)] = [word.strip() for word in " ".join([first, *rest]).split("|")]
        else:
            rules[unused(first, rules)] = [
                " ".join(lines.split()) for lines in re.split(r"(?:^|\n)- ", "\n".join(rest))[1:]
            ]
    return rules


def unused(name: str, rules: dict[str, list[str]]) -> str:
    """`name`, which must not be the name of an earlier rule."""
    if name in rules:
        raise ValueError(f"two rules are named {name}")
    return name


TOKENS = re.compile(r"\{[^{}]*\}|[\[\]<>|;]|[^\[\]<>{}|;]+")
"""Slots, brackets, separators and the plain text between them."""


def parse(text: str, rules: Rules) -> list[Part]:
    """The alternative `text` as parts to be joined: plain text, and functions that make text for a story."""
    tokens = TOKENS.findall(text)
    (parts,), _ = parse_branches(tokens, 0, "", rules)
    return parts


def parse_branches(tokens: list[str], at: int, closing: str, rules: Rules) -> tuple[list[list[Part]], int]:
    """Branches up to the `closing` bracket (or the end), and the place behind it."""
    separator = {"]": "|", ">": ";"}.get(closing)
    branches: list[list[Part]] = [[]]
    while at < len(tokens) and tokens[at] != closing:
        token = tokens[at]
        at += 1
        if token == separator:
            branches.append([])
        elif token == "[":
            inner, at = parse_branches(tokens, at, "]", rules)
            branches[-1].append(one_of(inner))
        elif token == "<":
            inner, at = parse_branches(tokens, at, ">", rules)
            branches[-1].append(any_order(inner))
        elif token in ("]", ">", "|"):
            raise ValueError(f"unbalanced {token} in {''.join(tokens)!r}")
        else:
            branches[-1].append(slot(token[1:-1], rules) if token[0] == "{" else token)
    if closing and at == len(tokens):
        raise ValueError(f"missing {closing} in {''.join(tokens)!r}")
    return branches, at + bool(closing)


def render(parts: list[Part], story: Story) -> str:
    """The parts, told and joined."""
    return "".join([part if part.__class__ is str else part(story) for part in parts])


def one_of(branches: list[list[Part]]) -> Part:
    """A choice: `[x|y]`."""
    size = len(branches)
    texts = ["".join(branch) if all(isinstance(part, str) for part in branch) else None for branch in branches]

    def tell_one(story: Story) -> str:
        index = int(story.draw() * size)
        text = texts[index]
        return render(branches[index], story) if text is None else text

    return tell_one


def any_order(branches: list[list[Part]]) -> Part:
    """A permutation: `<x;y>`."""

    def tell_all(story: Story) -> str:
        left = list(branches)
        told = []
        while left:
            told.append(render(left.pop(int(story.draw() * len(left))), story).strip())
        return " ".join(told)

    return tell_all


def slot(name: str, rules: Rules) -> Part:
    """A slot in braces: remembered, fresh (`~`), keyed (`@`) or with a capital (`^`)."""
    if name[0] == "^":
        lower = slot(name[1:], rules)
        return lambda story: capitalized(lower(story))
    if name[0] == "~":
        return lambda story: fresh(name[1:], rules, story)
    if name.endswith(".who"):
        return lambda story: pronoun_or_name(name[:-4], rules, story)
    if "@" in name:
        return lambda story: fresh(f"{name}={story.values[name.split('@')[1]]}", rules, story)
    return lambda story: remembered(name, rules, story)


def remembered(name: str, rules: Rules, story: Story) -> str:
    """What this slot says in this story; decided now when it was not yet."""
    if name in story.introductions:
        return introduction(name, story)
    value = story.values.get(name)
    if value is None:
        base = name.rstrip("23456789")
        others = [story.values.get(other) for other in (base, base + "2", base + "3")]
        value = fresh(base, rules, story)
        while value in others:
            value = fresh(base, rules, story)
        story.values[name] = value
    return value


def pronoun_or_name(person: str, rules: Rules, story: Story) -> str:
    """`she` where that can only be this person, known to the reader, else the name."""
    own = story.values[f"{person}.he"]
    alone = all(story.values[f"{other}.he"] != own for other in "abg" if other != person)
    return own if alone and person not in story.introductions else remembered(person, rules, story)


def introduction(person: str, story: Story) -> str:
    """The introduction of `person`: "her friend Tom", or "Ada's friend Tom" where the hero was not named before."""
    text = story.introductions.pop(person)
    if text.startswith(HEROS):
        hero = f"{story.introductions.pop('a')}'s" if "a" in story.introductions else story.values["a.his"]
        text = text.replace(HEROS, hero)
    return text


def fresh(name: str, rules: Rules, story: Story) -> str:
    """An alternative of the rule, not one already told in this story where that is easily had."""
    alternatives = rules[name]
    size = len(alternatives)
    index = int(story.draw() * size)
    for _ in range(4):
        if (name, index) not in story.used:
            break
        index = int(story.draw() * size)
    story.used.add((name, index))
    return render(alternatives[index], story)


# --- Finishing: paragraphs, articles, capitals -----------------------------------------------------------------------

BEFORE_VOWEL = re.compile(r"(?<= |\"|\n)([Aa]) (?=[aeio]|u(?!ni|se|su)|hour|honest)(?!one\b|once\b)")
SENTENCE_START = re.compile(r'[.!?]"? [a-z]')


def finish(text: str, story: Story) -> str:
    """Set the paragraphs of the story, make `a` into `an` before a vowel, begin each sentence with a capital."""
    layout = story.draw()
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("//")]
    paragraphs = [finish_paragraph(paragraph) for paragraph in paragraphs if paragraph]
    if layout < 0.12:
        return " ".join(paragraphs)
    if layout < 0.7:
        return "\n\n".join(paragraphs)
    return paragraphs[0] + "".join([story.pick((" ", "\n\n")) + paragraph for paragraph in paragraphs[1:]])


def finish_paragraph(text: str) -> str:
    """`text` with its articles and its capitals, and without the marks of attributions."""
    text = BEFORE_VOWEL.sub(r"\1n ", f" {text}")[1:]
    return SENTENCE_START.sub(lambda match: match[0].upper(), capitalized(text)).replace("& ", "")


def capitalized(text: str) -> str:
    """`text` with its first letter as a capital, the rest as it is."""
    return text[:1].upper() + text[1:]
