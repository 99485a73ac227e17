"""The material of the built-in stories: names, places, things, phrases and plots, as plain data.

Notable: `PHRASES` and `SCENES` are grammars in the notation explained in `stories`; everything else is a table that the
casting draws from. All of it was written for this project.
"""

from __future__ import annotations

from typing import NamedTuple

ANIMAL_SHARE = 0.25
"""Share of the stories whose children are animals."""


class Place(NamedTuple):
    """A place: how one is there, what is seen there, where things can be in it, what is underfoot, when one goes."""

    name: str
    at: str
    details: tuple[str, ...]
    spots: tuple[str, ...]
    ground: str
    seasons: tuple[str, ...]


SEASONS = ("spring", "summer", "autumn", "winter")
WARM = ("spring", "summer", "autumn")

WEATHERS = {
    "spring": ("sunny", "rainy", "windy", "cloudy"),
    "summer": ("sunny", "hot", "hot", "windy", "cloudy"),
    "autumn": ("windy", "foggy", "rainy", "cloudy", "sunny"),
    "winter": ("snowy", "snowy", "foggy", "cloudy", "sunny"),
}

TRAITS = ("shy", "bold", "careful", "dreamy", "stubborn", "cheerful", "curious", "impatient")

HINTS = {"people": ("like", "fear", "pet", "pet", "none", "none"), "animals": ("like", "fear", "none")}

WORLD_WORDS = {
    "people": {"hand": "hand", "hands": "hands", "all": "children", "group": "neighbors", "feet": "shoes"},
    "animals": {"hand": "paw", "hands": "paws", "all": "young animals", "group": "animals", "feet": "feet"},
}

PLOTS = (
    "lost",
    "quarrel",
    "promise",
    "rescue",
    "storm",
    "skill",
    "sharing",
    "surprise",
    "dark",
    "trade",
    "build",
    "lie",
    "race",
    "garden",
    "newcomer",
    "treasure",
    "fog",
    "kitchen",
    "saving",
    "neighbor",
    "show",
    "mystery",
)

TRAVEL_PLOTS = ("lost", "promise", "rescue", "trade", "treasure", "fog", "saving", "neighbor")
"""Plots where the hero is on the way somewhere, so that what is feared can be met; a fear is told only there."""

PEOPLE_PLOTS = ("newcomer", "saving", "mystery")
"""Plots with a school, a shop or a pet in them."""

PLOT_WEATHERS = {"storm": ("sunny", "hot", "cloudy"), "fog": ("cloudy", "windy")}
"""Weather that a plot begins with, where the plot brings its own."""

PLOT_SEASONS = {
    "storm": ("spring", "summer", "autumn"),
    "garden": ("spring",),
    "fog": ("autumn", "winter", "spring"),
    "race": ("spring", "summer", "autumn"),
}

# fmt: off
GIRLS = (
    "Ada", "Alma", "Amy", "Anna", "Bella", "Cara", "Clara", "Daisy", "Dora", "Ella", "Elsie", "Emma", "Eva", "Fay",
    "Flora", "Greta", "Hanna", "Hazel", "Ida", "Ivy", "Jane", "Joy", "June", "Kate", "Kira", "Lena", "Lily", "Lola",
    "Lucy", "Mary", "Maya", "Mia", "Mila", "Molly", "Nina", "Nora", "Olive", "Pam", "Penny", "Poppy", "Rita",
    "Rosie", "Ruby", "Sally", "Sara", "Sophie", "Stella", "Sue", "Tessa", "Tilda", "Una", "Vera", "Wendy", "Willa",
    "Zoe",
)
BOYS = (
    "Adam", "Alfie", "Andy", "Anton", "Arthur", "Ben", "Billy", "Bruno", "Carl", "Dan", "David", "Eddie", "Eli",
    "Emil", "Felix", "Finn", "Frank", "Fred", "Gabe", "George", "Hank", "Henry", "Hugo", "Ian", "Jack", "Jake",
    "Jim", "Joe", "Joel", "John", "Karl", "Leo", "Liam", "Luke", "Mark", "Matt", "Max", "Milo", "Ned", "Nick",
    "Noah", "Oliver", "Oscar", "Otto", "Owen", "Paul", "Peter", "Ray", "Rob", "Sam", "Simon", "Ted", "Theo", "Tim",
    "Toby", "Tom", "Victor", "Walter", "Will",
)
HERO_ANIMALS = (
    "fox", "rabbit", "mouse", "squirrel", "badger", "hedgehog", "bear", "raccoon", "otter", "mole", "beaver",
    "chipmunk",
)
# fmt: on

RELATIONS = {
    True: ("friend", "friend", "best friend", "cousin", "big sister", "little sister", "neighbor", "sister"),
    False: ("friend", "friend", "best friend", "cousin", "big brother", "little brother", "neighbor", "brother"),
}

GROWN_UPS = {
    "people": (
        ("Mom", "Mom", True),
        ("Mom", "Mom", True),
        ("Dad", "Dad", False),
        ("Dad", "Dad", False),
        ("Grandma", "Grandma", True),
        ("Grandpa", "Grandpa", False),
        ("Aunt Rosa", "Aunt Rosa", True),
        ("Aunt Jo", "Aunt Jo", True),
        ("Uncle Ben", "Uncle Ben", False),
        ("Uncle Pete", "Uncle Pete", False),
        ("Mrs. Hill", "Mrs. Hill from next door", True),
        ("Mr. Brown", "old Mr. Brown from across the street", False),
        ("Mrs. Lane", "Mrs. Lane from the library", True),
        ("Mr. Wood", "Mr. Wood from the bakery", False),
    ),
    "animals": (
        ("Mama", "Mama", True),
        ("Papa", "Papa", False),
        ("Grandma", "Grandma", True),
        ("Grandpa", "Grandpa", False),
        ("Mrs. Owl", "wise Mrs. Owl", True),
        ("Mr. Toad", "old Mr. Toad from the pond", False),
        ("Mrs. Goose", "Mrs. Goose from the farm", True),
        ("Mr. Stag", "tall Mr. Stag", False),
    ),
}

PETS = ("dog", "dog", "puppy", "little dog", "old dog")
# fmt: off
PET_NAMES = (
    "Biscuit", "Pepper", "Rusty", "Muffin", "Button", "Pickle", "Scout", "Waffle", "Bingo", "Patch", "Noodle",
    "Rover", "Tango", "Bean",
)
# fmt: on

# fmt: off
NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
# fmt: on

PLACES = {
    "people": (
        Place(
            "park",
            "at the park",
            ("Squirrels ran up and down the trees", "A man was feeding the birds", "The swings creaked in the wind"),
            ("under a bench", "behind the slide", "beside the fountain", "under the oak tree", "next to the swings"),
            "grass",
            SEASONS,
        ),
        Place(
            "beach",
            "at the beach",
            ("Small waves rolled in", "Gulls cried overhead", "Far out, a white boat went by"),
            ("under the pier", "behind a big rock", "in a tide pool", "beside an old boat", "under a blue umbrella"),
            "sand",
            ("summer", "spring"),
        ),
        Place(
            "farm",
            "on the farm",
            ("The hens were talking in the yard", "A brown cow looked over the fence", "It smelled of hay"),
            ("in the hay", "behind the barn", "under the cart", "beside the pump", "inside the hen house"),
            "straw",
            SEASONS,
        ),
        Place(
            "forest",
            "in the forest",
            ("A woodpecker was knocking somewhere", "The trees stood tall and still", "It smelled of moss and wood"),
            ("under a log", "inside a hollow tree", "behind a mossy rock", "under a fern", "between two roots"),
            "leaves",
            SEASONS,
        ),
        Place(
            "market",
            "at the market",
            ("People were calling out their prices", "It smelled of bread and oranges", "A man played the fiddle"),
            ("under the apple stand", "behind a barrel", "beside the flower cart", "under a table", "near the well"),
            "stones",
            SEASONS,
        ),
        Place(
            "river",
            "by the river",
            ("The water sang over the stones", "A duck went by with her ducklings", "Two men sat fishing"),
            ("under the bridge", "behind the reeds", "on a flat stone", "beside the willow", "under an old boat"),
            "mud",
            WARM,
        ),
        Place(
            "hill",
            "on the hill",
            ("They could see the whole town from there", "A hawk made circles in the sky", "Sheep bells rang below"),
            ("behind the stone wall", "under a bush", "next to the tall pine", "in a rabbit hole", "under a gray rock"),
            "grass",
            SEASONS,
        ),
        Place(
            "school yard",
            "in the school yard",
            ("Some children were jumping rope", "The flag flapped on its pole", "A ball bounced against the wall"),
            ("under the stairs", "behind the bike rack", "beside the gate", "under the maple tree", "in the sandbox"),
            "gravel",
            SEASONS,
        ),
        Place(
            "back yard",
            "in the back yard",
            ("Clean sheets hung on the line", "A cat slept on the wall", "Somewhere a door banged"),
            ("behind the shed", "under the porch", "in a flower pot", "beside the gate", "under the wheelbarrow"),
            "grass",
            SEASONS,
        ),
        Place(
            "village square",
            "in the village square",
            ("The clock on the tower struck", "Pigeons walked about like little men", "It smelled of fresh bread"),
            ("under the stone steps", "behind the fountain", "in a flower box", "beside the post box", "under a cart"),
            "stones",
            SEASONS,
        ),
        Place(
            "orchard",
            "in the orchard",
            ("Bees hummed in the branches", "A ladder leaned on a tree", "A blackbird was singing"),
            ("under the pear tree", "in a basket", "behind the ladder", "beside the beehive", "under the stone table"),
            "grass",
            WARM,
        ),
        Place(
            "train station",
            "at the train station",
            ("A train whistled far away", "People hurried by with bags", "The big clock ticked"),
            ("under the long bench", "behind a cart", "next to the clock", "beside the ticket window", "under a sign"),
            "stones",
            SEASONS,
        ),
    ),
    "animals": (
        Place(
            "forest",
            "in the forest",
            ("A woodpecker was knocking somewhere", "The trees stood tall and still", "It smelled of moss and wood"),
            ("under a log", "inside a hollow tree", "behind a mossy rock", "under a fern", "between two roots"),
            "leaves",
            SEASONS,
        ),
        Place(
            "meadow",
            "in the meadow",
            ("Bees went from flower to flower", "The grass was as high as their ears", "A lark sang high up"),
            ("under a daisy", "in the tall grass", "behind a stump", "beside the thorn bush", "under a flat stone"),
            "grass",
            WARM,
        ),
        Place(
            "pond",
            "at the pond",
            ("Frogs were singing", "A dragonfly shone in the light", "Rings spread over the water"),
            ("under the reeds", "behind the willow", "on a lily pad", "beside the beaver dam", "under a wet log"),
            "mud",
            WARM,
        ),
        Place(
            "hill",
            "on the hill",
            ("They could see the whole valley", "A hawk made circles in the sky", "The wind smelled of pine"),
            ("in an old burrow", "under a bush", "next to the tall pine", "behind the stone wall", "under a gray rock"),
            "grass",
            SEASONS,
        ),
        Place(
            "stream",
            "by the stream",
            ("The water sang over the stones", "Tiny fish flashed in the light", "A leaf sailed by like a boat"),
            (
                "under the roots",
                "behind the waterfall",
                "on a flat stone",
                "beside the ferns",
                "under the little bridge",
            ),
            "mud",
            SEASONS,
        ),
        Place(
            "old garden",
            "in the old garden",
            ("A snail crossed the path", "The gate hung on one nail", "Ivy grew on everything"),
            ("under a cracked pot", "behind the shed", "in a watering can", "beside the gate", "under the rose bush"),
            "grass",
            SEASONS,
        ),
    ),
}

ROWS = {
    ("like", "like.after"): (
        ("drawing", "drew a picture of it, and hung it over the bed"),
        ("singing", "made up a song about it"),
        ("telling stories", "told the whole story twice, and it was longer the second time"),
        ("collecting stones", "put one more smooth stone on the shelf, to remember the day"),
        ("baking", "baked a little cake, and everybody got a slice"),
        ("dancing", "danced around the kitchen table three times"),
        ("counting things", "counted all the good things of the day and came to eleven"),
        ("climbing trees", "climbed the tallest tree and shouted the news to the birds"),
        ("looking at stars", "looked at the stars for a long time and picked out the brightest one"),
        ("whistling", "whistled all the way to bed"),
        ("making up rhymes", "made a rhyme about it, and it was quite a good one"),
        ("picking flowers", "picked a bunch of flowers and put them in a cup on the table"),
        ("playing the drum", "played the drum so loudly that the windows shook"),
        ("looking for bugs", "told the news to a very small beetle, who seemed to listen"),
        ("skipping", "skipped all the way to the gate and back"),
        ("feeding the birds", "gave the birds an extra crumb or two"),
        ("painting", "painted the whole day in blue and yellow"),
        ("knitting", "knitted one more row on a very long scarf, in honor of the day"),
        ("writing letters", "wrote a long letter about it to a cousin far away"),
        ("building towers", "built a tower as high as the table and called it Tower of the Good Day"),
        ("playing checkers", "played one more game of checkers and did not mind losing"),
        ("reading", "read until the candle was low, but the day had been better than the book"),
        ("catching snails", "gave the fattest snail a name that fit the day"),
        ("doing tricks", "did a trick with a coin, and nobody could say how it was done"),
        ("cutting out paper stars", "cut out a paper star and hung it in the window"),
        ("sailing paper boats", "let a paper boat sail away with a secret message in it"),
        ("making soup from mud", "cooked a fine mud soup and served it to three stones"),
        ("guessing riddles", "made up a riddle about it that no one could solve"),
        ("watching clouds", "watched the clouds turn pink and saw a ship in one of them"),
        ("planting things", "put one bean into a pot, so that something would grow from this day"),
        ("rolling down hills", "rolled down the hill once more, just for the joy of it"),
        ("digging holes", "dug a small hole and filled it again, which is harder than it sounds"),
        ("making paper hats", "made a paper hat for everybody"),
    ),
    ("fear", "fear.meet"): (
        ("bees", "a fat bee came humming by"),
        ("big dogs", "a big dog barked behind a fence"),
        ("deep water", "there was deep water, and only a wet plank to cross it"),
        ("high places", "there was a tall stone wall to climb"),
        ("loud noises", "something went bang nearby"),
        ("spiders", "a spider let itself down on a long thread"),
        ("geese", "two geese came by, hissing like snakes"),
        ("the dark", "there was a dark tunnel to go through"),
        ("strangers", "a tall stranger came up and asked the way"),
        ("thunder", "there was a rumble in the sky"),
        ("roosters", "a rooster with a red comb came running, wings wide open"),
        ("snakes", "something thin and green slid over the stones"),
        ("crows", "a black crow flew up with a loud cry"),
        ("slippery stones", "there was a stream to cross on slippery stones"),
        ("big trucks", "a truck as high as a house rolled by"),
        ("cows", "a large cow stood in the way"),
    ),
    ("animal", "trouble", "food", "cry", "thank", "freed"): (
        (
            "bird",
            "one wing was caught in a string",
            "crumbs",
            "cheeped",
            "sang outside the window",
            "untied the string",
        ),
        ("kitten", "it was stuck on a high branch", "milk", "cried", "came purring to the door", "reached up for it"),
        (
            "lamb",
            "it was caught in a thorn bush",
            "grass",
            "called",
            "came running to say hello",
            "bent the thorns back",
        ),
        ("duckling", "it could not climb out of a hole", "bread", "peeped", "swam by and peeped", "scooped it out"),
        ("turtle", "it lay on its back", "lettuce", "waved its legs", "lifted its old head", "turned it over gently"),
        ("puppy", "one leg was stuck under a root", "a bit of ham", "whined", "wagged its tail", "lifted the root"),
        (
            "calf",
            "its head was stuck in a fence",
            "hay",
            "called for its mother",
            "mooed for joy",
            "pulled two bars apart",
        ),
        ("frog", "it sat in a deep bucket", "a small worm", "croaked", "croaked twice", "tipped the bucket over"),
        (
            "baby owl",
            "it had fallen out of its nest",
            "bits of meat",
            "hooted",
            "hooted twice from the dark",
            "set it back on its branch",
        ),
        (
            "goat",
            "its rope was wound around a post",
            "an old apple",
            "bleated",
            "bleated until they looked",
            "unwound the rope",
        ),
        ("pony", "one hoof was stuck in the mud", "a carrot", "snorted", "trotted to the fence", "dug the mud away"),
    ),
    ("seeds", "sprout", "crop", "use"): (
        ("pumpkin seeds", "fat green leaves", "pumpkins", "soup and a lantern"),
        ("bean seeds", "curly green stems", "beans", "a big pot of stew"),
        ("carrot seeds", "feathery leaves", "carrots", "a carrot cake"),
        ("sunflower seeds", "tall stems", "sunflowers", "a bright bunch for the table"),
        ("strawberry plants", "small white flowers", "strawberries", "nine jars of jam"),
        ("pea seeds", "thin green vines", "pea pods", "a green summer soup"),
        ("tomato seeds", "soft little leaves", "tomatoes", "a red sauce"),
        ("corn seeds", "straight green blades", "ears of corn", "a corn dinner outdoors"),
        ("melon seeds", "long creeping vines", "melons", "a feast in the shade"),
    ),
    ("skill", "skill.fail", "skill.part", "skill.tip", "skill.win"): (
        (
            "ride a bike",
            "tipped over into the hedge",
            "rolled a little way",
            "look ahead, not down",
            "rode to the gate",
        ),
        ("swim", "swallowed water and coughed", "floated for a moment", "breathe slowly", "swam to the far side"),
        ("whistle", "blew only air", "made a thin squeak", "make a small round mouth", "whistled a whole tune"),
        ("tie a bow", "made a big knot", "made one loop", "make two ears and cross them", "tied a perfect bow"),
        ("juggle", "dropped all three balls", "kept two balls in the air", "throw high", "juggled all three balls"),
        ("skate", "sat down with a bump", "slid a few steps", "bend your knees", "skated in a full circle"),
        ("play the flute", "made a sound like a sick goose", "got three notes right", "blow softly", "played a song"),
        ("fly a kite", "saw it fall on its nose", "kept it up for a breath", "feel the wind first", "flew it up high"),
        ("jump rope", "got tangled in the rope", "jumped two times", "listen to the rope", "jumped twenty times"),
        ("bake bread", "made a loaf as hard as a brick", "made a flat loaf", "let the dough rest", "made a soft loaf"),
        (
            "skip stones",
            "heard the stone go plop",
            "made it hop once",
            "pick a flat one",
            "made a stone hop five times",
        ),
        ("row a boat", "went around in a circle", "went almost straight", "pull both sides alike", "rowed to the dock"),
        ("walk on stilts", "fell into the hedge", "took two steps", "look at the sky", "walked across the yard"),
        (
            "paint a horse",
            "painted something like a table",
            "got the legs right",
            "look before you paint",
            "painted a horse that almost neighed",
        ),
    ),
    ("building", "parts", "flaw", "fixed"): (
        ("a tree house", "boards and nails", "the floor sloped like a slide", "put a thick post under one side"),
        ("a raft", "logs and rope", "one side dipped under water", "tied an empty barrel to the low side"),
        ("a bird house", "thin boards and glue", "the door was too small for any bird", "cut the door wider"),
        ("a little bridge", "planks and stones", "it wobbled at every step", "packed flat stones under each end"),
        ("a wagon", "a box and four wheels", "it only rolled to the left", "set the front wheels straight"),
        ("a fort", "branches and blankets", "the roof fell in", "stood one long pole in the middle"),
        ("a swing", "a board and a rope", "it hung as crooked as an old tooth", "made both ropes the same length"),
        ("a windmill", "sticks and paper", "it would not turn", "bent each blade a little"),
        ("a boat", "bark and a bit of cloth", "it fell on its side", "put a heavy stone in the bottom"),
        ("a kite", "paper and two sticks", "it dived like a duck", "gave it a longer tail"),
        ("a puppet stage", "a crate and a curtain", "the curtain got stuck", "rubbed the string with soap"),
        ("a scarecrow", "straw and an old coat", "it kept bowing down", "gave it a stick for a backbone"),
    ),
    ("riddle", "answer"): (
        ("What has hands but cannot clap?", "A clock"),
        ("What gets wetter the more it dries?", "A towel"),
        ("What has a neck but no head?", "A bottle"),
        ("What has teeth but cannot bite?", "A comb"),
        ("What goes up and never comes down?", "Your age"),
        ("What has one eye but cannot see?", "A needle"),
        ("What has many leaves but is no tree?", "A book"),
        ("What runs all day but has no legs?", "A river"),
        ("What is full of holes but can hold water?", "A sponge"),
        ("What can you catch but not throw?", "A cold"),
    ),
    ("dish", "wrong", "result", "new.name"): (
        ("a cake", "salt in place of sugar", "tasted like the sea", "Sailor's Cake"),
        ("a pot of soup", "far too much pepper", "made everyone sneeze", "Dragon Soup"),
        ("a plate of pancakes", "no milk at all", "came out as thick as books", "Book Cake"),
        ("a batch of cookies", "twice as much butter", "ran together into one", "the Giant Cookie"),
        ("a pie", "onions among the apples", "smelled rather strange", "Surprise Pie"),
        ("a basket of bread rolls", "too much yeast", "grew as big as hats", "Hat Bread"),
        ("a pudding", "too little flour", "would not stand up", "Lazy Pudding"),
        ("jam", "a whole lemon", "was so sour that it made eyes water", "Wake-Up Jam"),
        ("a batch of muffins", "mustard in place of honey", "came out as yellow as ducks", "Duck Cake"),
    ),
}

PHRASES = r"""
thing: teapot | hat pin | rag doll | paint box | slingshot | glove | silk flag | toy duck | tin soldier | pillow |
picture book | flute | spoon | leather belt | hand bell | candle | magnet | tin horn | rubber ball | walking stick |
blanket | toy car | snow globe | flower pot | shawl | jar | toy drum | paper crane | coin | brush | whisk | clay owl |
toy wagon | wool sock | hair clip | kite | whistle | ball | button | scarf | toy boat | lantern | cup | drum |
spinning top | ribbon | bell | marble | wooden horse | basket | cap | notebook | pencil | feather | little mirror |
key | toy train | purse | glass bead | paper fan | yo-yo | mitten | jump rope | pocket knife | painted egg | compass |
locket | music box | toy bear | puppet

color: red | blue | green | yellow | white | purple | orange | brown | silver | golden | pink | gray | black | pale
green | dark blue | bright red | striped | spotted | sky-blue

mark: a thin red line along one side | the letter B on the back | a dark ring on it | a small burn at one end | a
patch sewn on it | a fish drawn on it | a bite in one corner | a stain like a cloud | a little bell tied to it | one
side faded by the sun | a tiny star painted on it | a scratch like a new moon | a small dent on one side | a crooked
letter on it | a bit of green thread around it | a little heart drawn on it | one corner missing | a burned spot | a
drop of paint on it | a small crack | three dots in a row | a chip on the edge | a knot of string tied to it

items: potatoes | stamps | beads | lemons | corks | dry leaves | turnips | candles | crackers | peaches | mushrooms |
onions | daisies | beans | bottle caps | spools of thread | blue stones | carrots | tulips | figs | shells | acorns |
pinecones | buttons | marbles | chestnuts | feathers | pebbles | plums | cookies | pears | nuts | apples | cherries |
eggs | ribbons | flowers | walnuts | paper stars | berries

treat: a boiled egg | a bit of gingerbread | a baked potato | a raisin bun | a mug of hot tea | a ripe peach | a corn
cake | two plums | a waffle | a spoon of jam | a pretzel | some popcorn | a cold dumpling | a glass of apple juice | a
bowl of cherries | a cheese pie | a lemon cookie | a warm bun | a slice of pie | a cookie | a bowl of soup | a cup of
cocoa | an apple | a honey cake | a plum tart | a piece of cheese | a roasted chestnut | a handful of berries | a
glass of cold milk | some buttered toast | a sweet roll | a bowl of porridge | a jam sandwich

seat: on an old bucket | under the window | on a flat rock | at the foot of the stairs | in the shade | on a pile of
sacks | by the well | on a fallen tree | in a corner | on the low wall | on a bench | under a tree | by the fence | on
the steps | on a log | behind a tree | beside the wall | on a big stone | near the gate | on an old crate

nook: behind the mill | in the long grass | at the back of the barn | beside the duck pond | behind the big tree |
near the well | under the old roof | where the path bends | beside the ditch | behind the old shed | near the fence |
behind a hedge | under the trees | next to the barn | at the end of the path | beside the stone wall | near the little
bridge

fur: brown | white | gray | black | spotted | black and white | golden | reddish | dark brown | light brown

nick: bean | button | goose | star | cloud | potato | bird | sparrow | plum | acorn | thunder | pepper

quick.light: {many} candles were lit | the lamp went on | a curtain was pulled away

like.nut
- "Like a nut," {~answer_a}. "Hard outside."

like.stove
- "Like our old stove," {~answer_a}. "Slow to get warm, but then it stays warm."

size: big | small | tiny | huge | long | round | wide | little | tall | heavy | narrow

time: morning | afternoon | day | evening

game: blind man's buff | ninepins | bakers | sailors | trains | statues | dragon hunters | school | detectives |
horses | post office | doctors | tag | hide-and-seek | ball | pirates | follow the leader | catch | kings and queens |
shop | explorers | hopscotch | marbles | leapfrog | knights | circus

slow: slowly | carefully | step by step | bit by bit | with great care | without a sound | little by little

softly: softly | quietly | gently | in a low voice | kindly | after a while | calmly | warmly | slowly | in a clear
voice | after some thought

sound: plop | bang | crunch | swish | creak | snap | bump | ping | hiss | knock, knock | thump | crack | splash |
rustle | squeak | click | scratch | hum | clatter | tap, tap, tap

adult.work: polishing boots | writing a list | painting a door | feeding the hens | picking beans | darning a shirt |
oiling the gate | counting jars | rolling out dough | sharpening a pencil | cutting bread | playing cards alone |
winding up the clock | looking for a lost glove | sewing on a button | cleaning a lamp | raking leaves | tying up
roses | boiling jam | building a shelf | beating a rug | baking bread | mending a chair | reading the paper | washing
cups | knitting a sock | watering the plants | sweeping the floor | writing a letter | peeling apples | fixing a lamp
| sorting buttons | making tea | folding sheets | stirring a big pot | cleaning the windows | chopping wood

like.sky: like a slice of melon | like a silver spoon | like a new penny | like a round cheese | like a sleepy eye |
like a coin | like a big plate | like an orange | like a lamp

trait.word@trait=shy: shy | quiet | shy | timid

trait.word@trait=bold: bold | brave | daring | loud

trait.word@trait=careful: careful | tidy | thoughtful | careful

trait.word@trait=dreamy: dreamy | sleepy | dreamy | forgetful

trait.word@trait=stubborn: stubborn | proud | headstrong | stubborn

trait.word@trait=cheerful: cheerful | merry | jolly | cheerful

trait.word@trait=curious: curious | clever | curious | bright

trait.word@trait=impatient: impatient | restless | lively | hasty

habit@trait=shy
- {a.he} [liked to listen more than talk|often hid behind {a.his} own hair|spoke so softly that people had to bend
  down]
- when somebody new came, {a.he} [looked at {a.his} {feet}|went very quiet|hid behind the nearest tree]
- {a.he} [knew many good jokes but told them to nobody|would rather wave than say hello]

habit@trait=bold
- {a.he} [always wanted to go first|jumped into every puddle|never walked when {a.he} could run|had a loud, happy
  voice]
- if there was a wall, {a.he} [climbed it|wanted to see the other side|walked along the top of it]
- {a.he} was [hardly ever|almost never] afraid, [and told everybody so|or at least {a.he} never said it]

habit@trait=careful
- {a.he} always looked [twice before {a.he} crossed a stream|where {a.he} put {a.his} feet|first and jumped later]
- {a.he} kept [{a.his} things in a neat row|a list of everything|a bit of string for hard times]
- {a.he} liked [to know what came next|things to be in their places|to measure everything twice]

habit@trait=dreamy
- {a.he} could [look at clouds for hours|forget the whole world while watching an ant|lose one shoe and not notice it]
- {a.his} head was full of [ships and islands|songs|castles|little birds], and sometimes {a.he} [forgot to eat|bumped
  into trees]
- {a.he} was often late, because [the clouds were so interesting|there was so much to look at on the way]

habit@trait=stubborn
- once {a.he} had made up {a.his} mind, [nothing could change it|not even rain could stop {a.him}|it stayed made up]
- {a.he} did not like [to be helped|to be told what to do|to say sorry|to lose]
- "I can do it myself" was what {a.he} said [most often|ten times a day|at breakfast, at lunch and at dinner]

habit@trait=cheerful
- {a.he} [laughed easily|sang while {a.he} brushed {a.his} teeth|said good morning to every bird|smiled even at the
  rain]
- {a.he} thought that every day had [one good surprise in it|something funny in it|a bright side]
- when others were sad, {a.he} [made faces until they laughed|told them a joke|sat down beside them and hummed]

habit@trait=curious
- {a.he} asked [a hundred questions a day|why about everything|what was inside of every box|where the wind went at
  night]
- {a.he} looked [under every stone|behind every door|into every hole], just to [see|know|find out] what was there
- {a.he} wanted to know [how everything worked|where roads ended|what the birds were saying]

habit@trait=impatient
- {a.he} could not [wait for anything|sit still for long|stand in a line without hopping]
- {a.he} ate soup before it was cool and [burned {a.his} tongue every time|never learned]
- waiting was [the hardest thing {a.he} knew|harder for {a.him} than anything else|not what {a.he} was good at]

start@trait=shy
- {a} [took a deep breath|waited a moment|looked down] and then went, [though {a.his} heart beat fast|one small step
  at a time].
- at first {a} [only watched|stood very still|said nothing at all]. Then, [slowly|very quietly|little by little],
  {a.he} [began|came closer].

start@trait=bold
- {a} [did not wait|marched right ahead|was off before anyone could speak].
- "[Follow me|Here I go|I am not afraid]!" {~exclaim_a}, and {a.he} [ran ahead|was gone|led the way].

start@trait=careful
- {a} [made a plan first|counted to three|checked everything twice]. Only then did {a.he} [begin|set out|move].
- "[One thing at a time|Slow is safe|Let me think first]," {~by_a}.

start@trait=dreamy
- {a} [was thinking of something else and had to be called twice|watched a cloud for a while, then remembered].
- "[Oh|Wait]! What was I going to do?" {~ask_a}. Then {a.he} [remembered|laughed and began|got to work].

start@trait=stubborn
- {a} [set {a.his} jaw|put {a.his} chin up|stamped one foot] and [began|went to work|set off].
- "I will not [give up|stop|go home] until it is done," {~by_a}.

start@trait=cheerful
- {a} [hummed a tune|laughed|rubbed {a.his} {hands}] and [began|went to work|set off].
- "[This will be fun|It will be all right|Come on, it is a fine day for it]!" {~exclaim_a}.

start@trait=curious
- {a} had [so many questions|a hundred ideas|an idea at once], and {a.he} [wanted to try them all|could hardly wait to
  try].
- "I wonder [how we can do it|what will happen|what we will find]," {~by_a}.

start@trait=impatient
- {a} [could not stand still|hopped from one foot to the other|had already started].
- "[Hurry|Quick|Come on|Now, now]!" {~exclaim_a}. {a.he} was [already at the gate|halfway there|gone before the answer
  came].

dare@trait=shy
- {a} [took a deep breath|swallowed|felt {a.his} cheeks grow hot]. [it was not easy for a shy {a.kind}|{a.his} heart
  beat like a drum].
- it took {a} a long time to [find the courage|lift {a.his} eyes|get the first word out].

dare@trait=bold
- {a} [was usually not afraid of anything, but this was hard|walked straight up, as {a.he} always did].
- for once even bold {a} [felt small|had wobbly knees|did not know what to say].

dare@trait=careful
- {a} [thought about each word first|tried the words out in a whisper|waited for the right moment].
- what if it went wrong? careful {a} [thought of that too|weighed it in {a.his} mind], and then made up {a.his} mind.

dare@trait=dreamy
- {a} [woke as if from a dream|had been far away in {a.his} thoughts, but now {a.he} was wide awake].
- [the clouds could wait|for once {a} did not look at the clouds]. [this was more important|there was something to
  do].

dare@trait=stubborn
- [everything in {a} said no|{a} did not want to]. {^a.he} was stubborn, but [not that stubborn|this time {a.he} did
  what was right].
- {a} [bit {a.his} lip|pushed {a.his} {hands} deep into {a.his} pockets]. then {a.he} [gave {a.himself} a push|held
  {a.his} chin up].

dare@trait=cheerful
- {a} [tried to smile, but it came out crooked|did not hum this time|was not laughing now].
- {a} [put on {a.his} best smile|smiled, and that made it easier].

dare@trait=curious
- {a} [wondered what would happen|wanted to know how it would end], and so {a.he} [went ahead|took the first step].
- what is the worst that can happen? {a} [asked {a.himself}|wondered]. [it was not so very bad|nothing too terrible
  came to mind].

dare@trait=impatient
- {a} [could not bear to wait any longer|wanted it to be over], so {a.he} did not [put it off|wait].
- this time {a} [did not rush|made {a.himself} slow down]. {^a.he} [breathed in and out|counted to seven] first.

lesson@trait=shy
- {a.who} still spoke softly, but [now people listened|now {a.he} spoke more often|{a.he} did not hide anymore].
- for a shy [{a.kind}|{a.kind}], it had been a very [brave|big|long] day.

lesson@trait=bold
- even a bold {a.kind} [can learn something new|needs a friend sometimes|has to think now and then].
- {a.who} was still bold, but [a little wiser|now {a.he} looked first|{a.he} asked first more often].

lesson@trait=careful
- {a.who} [wrote it on {a.his} list|put the day in order in {a.his} head], and it [was the best thing there|made
  {a.him} smile].
- careful {a} had [found out that plans can change|learned to trust a little more].

lesson@trait=dreamy
- and at night {a.he} dreamed of [it all again|the {place}|flying over the {place}], [but better|and nothing was
  lost].
- dreamy {a} [did not forget this day|remembered every bit of it for once].

lesson@trait=stubborn
- {a.who} was still stubborn, but [only about good things|not with {a.his} friends|a bit less than before].
- it is good to be stubborn [sometimes|when it helps someone], {a} thought, [and sometimes it is not|but not always].

lesson@trait=cheerful
- {a.who} [laughed|hummed|smiled] all the way home, and [so did everyone else|even the birds seemed to join in].
- cheerful {a} had one more thing to [smile|sing|be glad] about.

lesson@trait=curious
- of course {a} had [one more question|ten new questions], but [it could wait until morning|{a.he} was too sleepy to
  ask].
- {a.who} had found out something [that is in no book|new], and that was what {a.he} liked best.

lesson@trait=impatient
- and for once {a} [did not mind the waiting|sat quite still|was in no hurry at all].
- some things take time, and {a} [knew it now|had found that out|was slowly learning it].

weather@weather=sunny
- the sun [shone on the roofs|was warm on the stones|came in at the window], and the sky was [blue|clear|wide and
  blue].
- there was not a cloud [in the sky|to be seen], and the {place} was [bright|full of light].

weather@weather=hot
- it was so hot that [even the flies sat still|the cats lay in the shade|the road felt like a stove].
- the [heat lay over the fields|air was warm and still|sun burned down], and everyone [wanted a cold drink|moved
  slowly].

weather@weather=rainy
- rain [ran down the windows|drummed on the roof|fell in fat drops], and there were puddles [everywhere|on every
  path].
- it had rained [all night|since breakfast|for two days], and {a} [wore a raincoat|wore tall boots|jumped over the
  puddles].

weather@weather=windy
- the wind [pulled at the trees|chased the leaves|whistled around the corners|made the doors bang].
- it was so windy that [hats flew off|{a} had to hold on to {a.his} cap|even the birds flew sideways].

weather@weather=cloudy
- gray clouds [hung over the roofs|moved slowly by|covered the sun], but it was [dry|not cold|quiet].
- the sky was [gray and soft|the color of wool|full of clouds like sheep].

weather@weather=foggy
- fog [lay over the ground|hid the tops of the trees|made everything soft and gray].
- the fog was so thick that [the trees looked like giants|{a} could hardly see the end of the path].

weather@weather=snowy
- snow [lay on everything|fell without a sound|had covered the paths], and every breath made [little clouds|white
  puffs].
- it had snowed [all night|again|since dawn], and the world was [white and still|bright|like a cake with sugar on it].

family
- {a.he} lived [near|not far from|close to] the {place}, [where there was always something to see|and knew every
  corner of it].
- {a.he} lived in a {~size} [white|red|wooden|stone|crooked] house [on a hill|by the road|at the edge of town|with a
  green door].

family.animals
- {a.he} lived [near|not far from|close to] the {place}, [in a burrow with a round door|in a warm, dry den|under an
  old tree].
- {a.his} home was [a snug hole|a dry den|a nest of leaves] [under an oak|between the roots of a pine|in the side of a
  bank].

home@world=people
- {~family}

home@world=animals
- {~family.animals}

hint@hint=like
- {a.he} loved {like}[ more than anything| more than cake|, and did it every day|].
- what {a.he} liked [best|most of all] was {like}.

hint@hint=fear
- there was [only one|just one] thing {a.he} did not like: {fear}.
- {a.he} was [a little|very|quite] afraid of {fear}, [but told nobody|though {a.he} did not like to say so].

hint@hint=pet
- {a.he} went everywhere with {p}, [who was clever and kind|who liked to chew things|who could smell a sausage a mile
  away].
- {p} [slept at the end of {a.his} bed|followed {a.him} like a shadow|was always close behind].

hint@hint=none
- {a.his} favorite color was {color}, and {a.his} favorite day was {~weekday}.
- {a.he} could [jump over a chair|eat {few} pancakes|hold {a.his} breath for a long time|say the alphabet backward].
- {a.he} had {few} cousins and [one loose tooth|a secret shelf|a drawer full of string].
- nobody could [laugh|run|climb|sing|wink] [quite like {a.him}|as well as {a.he} could], except {g}.
- {g} called {a.him} "my little [{~nick}|{~nick}]," and {a.he} [liked it|did not mind|pretended not to like it].
- everybody [knew {a.him}|had seen {a.him} run by|smiled at the sight of {a.him}].
- {a.he} was [the youngest in the family|small for {a.his} age|the oldest of three|tall for {a.his} age].

interlude
- a cart full of {~goods} rolled by, and the driver [waved|sang|was asleep].
- {^~passer} went past and [nodded|said it was a strange day|did not even look].
- somewhere [a bell rang|a dog barked|a child laughed|someone was playing the piano], and then it was quiet again.
- it smelled of [fresh bread|wet wool|cut grass|smoke|soap|apples].
- a [robin|sparrow|magpie|wren] sat [on a post|on the fence|on a twig] and [watched everything|turned its head|sang
  {few} notes].
- {a} picked up a {~scrap} and put it [in {a.his} pocket|into {a.his} cap], just in case.
- {a} [tripped over|walked into|nearly sat on] a [bucket|log|broom|turnip|basket] and had to [laugh|hop on one foot].
- the shadows grew [short|long|thin], and {a} felt [hungry|thirsty|a little tired].
- {a} [bit into|ate] {~snack} and [gave the rest to the birds|licked {a.his} {hand}|thought].
- a leaf came down, turned {few} times in the air, and landed [on {a.his} head|in a puddle|at {a.his} feet].
- an ant carried a crumb {few} times its own size. "[You are strong|Do not give up]," {a} whispered to it.
- {a} counted the [steps|fence posts|windows|crows] and came to {total}.
- the [church clock|old clock|tower clock] struck {~hour}.
- {a} had a [stone|thorn|hole|bit of straw] in {a.his} [shoe|left shoe|sock], but there was no time for that.
- two [geese|snails|sparrows|old men] were having an argument about [a crumb|the weather|who was first].
- a small cloud [like a hat|like a fish|like a sheep|like a boat] was the only one who saw it all.
- {a} [whistled|hummed|made a face at {a.his} own shadow|jumped over a crack], to feel braver.
- "[Good day to you|Nice weather for snails|Mind the puddles]," said {~passer.person}. "Good day," {~answer_a}.
- nobody spoke for as long as it takes to [eat a plum|tie a shoe|count to twenty].
- one of {a.his} buttons came off and rolled [into the grass|under a step], and it was never seen again.

passer.person: the baker | a man with a ladder | an old woman with a goose | the milkman | a girl on a gray donkey | a
boy with a fishing rod | two boys in one coat

goods: cabbages | hay | milk cans | pumpkins | old chairs | empty bottles | beets | flour sacks | firewood | squawking
hens

scrap: nut | snail shell | bent nail | piece of string | smooth stone | gray feather | scrap of paper | rusty coin |
bit of blue glass

snack: an apple | a carrot | a piece of bread | a pear | a plum | a crust | a handful of nuts

way@hint=like
- []
- []
- []
- "I wish I could be {like} now," {~by_a}, but [there was no time|not very seriously].
- [nobody was {like} that day|for once {a} did not feel like {like}].
- {a} [hummed to {a.himself}|thought of {like} for a moment|wished for a moment that {a.he} was at home, {like}].

way@hint=fear
- just then, {fear.meet}. {a} [stopped|turned pale|wanted to run]. {^a.he} [took a deep breath|counted to ten|thought
  of something nice], and [then it was over|soon it was behind {a.him}]. "I did it," {~by_a}.
- suddenly {fear.meet}. {a} [froze|felt {a.his} knees shake|shut {a.his} eyes]. [but nothing bad happened|a moment
  later it was over|{a.he} stayed, and it was not so bad after all].

way@hint=pet
- {p} [ran ahead with {p.tail}|sniffed at everything|barked at a leaf|rolled on the {ground} for joy].
- {p} [wanted to help, of course|found a stick and would not give it up|chased {~chased} and came back out of breath].

way@hint=none
- []

chased: a bee | a duck | a paper bag | two pigeons | a rolling apple | a gray cat | a falling leaf | a butterfly | a
leaf | a crow | a squirrel | nothing at all | the wind

p.tail: muddy paws | a shoe in the mouth | a wet nose | one ear up and one ear down | a wagging tail | flying ears | a
stick in the mouth

detail
- {detail}.
- {detail}, [but {a} hardly noticed|and {a} stopped to look|and it felt like a good day].

after@hint=like
- [that evening|later|at bedtime|when it was all over], {a} {like.after}.
- and because {a.he} loved {like}, {a} {like.after}.

after@hint=fear
- and from that day on {a} was not quite so afraid of {fear}.
- {a} was [a bit less|hardly] afraid of {fear} now.
- "And I was [not very|only a little] afraid of {fear}," {a} [added proudly|told {g} at bedtime|said before falling
  asleep].

after@hint=pet
- {p} [got a bone|fell asleep on {a.his} feet|barked twice, as if to agree|licked {a.his} ear].
- even {p} [seemed pleased|wagged from nose to tail|got {~treat2}].

treat2: a sausage | an extra bone | a piece of cheese | a long scratch behind the ears

after@hint=none
- there was {~treat} for supper, and [nobody spoke for a while|it had never tasted so good|everyone had some].
- {g} lit the lamp. "[A good day|That was a good day|Well, well]," {~by_g}, and {a} [nodded|yawned|thought so too].
- the next morning there was [rain|sun|wind|fog] again, but [it looked different|{a} woke up smiling].
- {a} [slept like a stone|fell asleep at the table|talked about it in {a.his} sleep] that night.
- if you go to the {place} [today|on a {~weekday}], you may still [hear about it|see the two of them there].
- []
- [that night|later that night], {~night}.

night
- the moon rose [over the roofs|{like.sky}|behind the trees]
- the first stars [came out|began to shine]
- an owl called [once|twice] and then it was [quiet|still]
- the light turned [gold|pink|blue] over the {place}

opening
- {~once} {~open2}
- {~open2b} {~once2}
- {~once} {~open2}

once
- [people still talk about|let me tell you about|you should have known] {a}, the {trait.word@trait} {a.kind}[ with
  {~looks}|].
- near the {place} lived a {trait.word@trait} {a.kind} by the name of {a}.
- {a} had [woken up|got up] early. {a.he} was a {trait.word@trait} {a.kind}[ with {~looks}|].
- [once upon a time|once|long ago|a long time ago], there [was|lived] a [|little|young] {trait.word@trait} {a.kind}
  [named|called] {a}.
- {a} was a [|little|young|small] {trait.word@trait} {a.kind}[ with {~looks}| who lived near the {place}|].
- there was once a {a.kind} [named|called] {a}, and {a.he} was [very|rather|quite] {trait.word@trait}.
- everybody near the {place} knew {a}, the {trait.word@trait} {a.kind}[ with {~looks}|].
- this is the story of {a}, a {trait.word@trait} {a.kind}[ with {~looks}|].

looks: a gap between the front teeth | a {color3} ribbon | a very loud sneeze | a soft voice | long legs | a crooked
smile | dusty knees | a whistle on a string | a {color3} vest | a wild tuft of hair | round cheeks | {color3} boots |
a loud laugh | bright eyes | a {color3} hat | muddy feet | big ears | a {color3} coat | a quick step | a {color3}
scarf | sharp eyes | a small nose | a pocket full of string | warm {hands}

open2
- {hint@hint} {habit@trait}.
- {weather@weather}
- {habit@trait}.
- {habit@trait}. {hint@hint}
- {hint@hint} [one {season} {~time}|one day in {season}|it was {season}, and] {~weather2}
- {home@world} {hint@hint}
- {habit@trait}. {weather@weather}

weather2
- {^a} looked out. {weather@weather}

open2b
- it was [a {season} {~time}|{season}|an early {season} day|late in {season}]. {weather@weather}
- [one {season} {~time}|one day in {season}], {a} [woke up early|came running down the path|sat and looked out].
  {weather@weather}
- {weather@weather}

once2
- {a}, a {trait.word@trait} {a.kind}, was [in a good mood|up early|looking for something to do]. {hint@hint}
- {a} was a {trait.word@trait} {a.kind}. {habit@trait}. {hint@hint}
- {^a} the {a.kind} [did not mind the weather|looked at the sky|was glad to be outside]. {hint@hint}

by_%
- & said {%}
- & {%} said
- & said {%}
- & {%} said
- & {%.who} said
- & {%.who} said {~softly}
- & said {%} {~softly}
- & {%} [whispered|murmured|said slowly|said at once|put in|said firmly]
- & said {%}, [nodding|looking up|and meant it|with a shrug|turning around]
- & {%} said [and nodded|with a serious face|in the end]

exclaim_%
- & cried {%}
- & {%} cried
- & shouted {%}
- & {%} shouted
- & called {%}
- & said {%}
- & {%} said
- & {%.who} [cried|called|said]
- & {%} [laughed|burst out|gasped]
- & {%} called [so loudly that everyone turned|at the top of {%.his} voice|over {%.his} shoulder]

snap_%
- & {%} [snapped|shouted|hissed|grumbled|said crossly|said with an angry face]
- & [snapped|shouted|cried|grumbled] {%}
- & said {%}, [red in the face|much too loudly|with both fists closed]

answer_%
- & answered {%}
- & {%} answered
- & {%} replied
- & replied {%}
- & said {%}
- & {%} said
- & {%.who} said
- & was {%.name}'s answer
- & {%} answered [{~softly}|at once|after a moment|without looking up]

ask_%
- & asked {%}
- & {%} asked
- & asked {%}
- & {%.who} asked
- & {%} wanted to know
- & {%.who} asked {~softly}
- & asked {%} {~softly}
- & {%} asked, [looking up|with wide eyes|turning around]

sad_%
- {%} [hung {%.his} head|felt a lump in {%.his} throat|blinked away a tear|looked at the ground|felt cold inside]
- a tear [rolled down {%.name}'s cheek|dropped on {%.name}'s {hand}]
- {%} [swallowed hard|sat down with a sigh|wished the day would start again]

glad_%
- {%} [beamed|laughed out loud|clapped {%.his} {hands}|jumped up and down|could not stop smiling|spun around for joy]
- {%.name}'s [eyes shone|heart felt light|whole face lit up|smile went from ear to ear]

think_%
- {%} [thought hard|rubbed {%.his} chin|closed {%.his} eyes to think|walked up and down|scratched {%.his} head]
- {%} [thought about it for a long time|turned it over in {%.his} mind|sat down to think|was quiet for a moment]

cheer: hip, hip, hooray | oh yes | just look | I knew it | what luck | it works | hooray | hurrah | we did it | look
at that | at last | how wonderful | what a day | oh, good

oh: oh my goodness | what bad luck | my goodness | oh bother | good heavens | oh no | oh dear | dear me | oh my | good
grief | uh-oh

sorry
- I am [so|very|truly] sorry
- I [was wrong|made a mistake|did not think], and I am sorry
- please [forgive me|do not be angry], I am sorry

thanks
- thank you[|, thank you| so much| with all my heart| for everything]
- how kind of you
- I will [never|not] forget this

later
- [after a while|before long|a little later|by and by|in the end|some time later|soon]
- [when the clock struck {~hour}|just before {~meal}|after {~meal}]

hour: two | three | four | five | six

meal: lunch | dinner | supper

ending
- {after@hint} {lesson@trait}
- {lesson@trait}
- {after@hint}
- {lesson@trait} {after@hint}
- {after@hint}
"""

SCENES = r"""
plot.lost
- {~opening} // {~lost.own} {~lost.gone} // {~lost.search} // [|{~interlude} ]{way@hint} {~lost.found} // {~lost.end}
  {~ending}
- {~lost.own} {~opening} // [|{~interlude} ]{way@hint} {~lost.gone} {~lost.search} // {~lost.found} {~lost.end}
  {~ending}

lost.own
- {a} never left home without {a.his} {thing}. it was {color}, it had {mark}, and [it had once been {g.name}'s|{a.he}
  had paid {few} coins for it|it brought {a.him} luck].
- "[Take good care of it|It is yours now|Mind that you keep it safe]" was what {g} had said about the {color} {thing}.
  one could tell it by [this|one small thing]: it had {mark}.
- {a}'s [best|dearest] thing was a {color} {thing} with {mark}. {g} had given it to {a.him} [last {~occasion}|on
  {a.his} birthday].
- {a} had a {color} {thing}. it was [not new|quite old|rather small], and it had {mark}, but {a} [loved it|took it
  everywhere].
- for {a.his} birthday, {a} had got a {color} {thing} from {g}. [you could tell it by one thing|nobody else had one
  like it]: it had {mark}.

occasion: winter | summer | spring | Sunday | fall | week

lost.gone
- {a} and {b} were {at}, playing {~game}. {a} [hung {a.his} coat on a branch|ran and jumped|laughed and forgot
  everything]. only [much later|when the shadows were long] did {a.he} reach for the {thing}, and [{a.his} {hand} found
  nothing|it was not there]. {~sad_a}.
- one {~time}, {a} [played|was] {at} with {b}. they [played {~game}|ran races|looked for {items}] until they were
  [tired|hungry|out of breath]. when it was time to go home, the {thing} was gone. "{^~oh}!" {~exclaim_a}. "[Where can
  it be|Where did I put it|Who has seen it]?"
- they were {at}, {a} and {b}. {a} [put {a.his} {hand} in {a.his} bag|wanted to show the {thing}|looked around].
  nothing! {~sad_a}. "My {thing} is [lost|gone]," {~by_a}. "I must have dropped it [here|when we played {~game}]."

lost.search
- "[Let us make a list|We need a plan]: {spot}, {spot2}, {spot3}," {~by_b}. {spot} was [nothing but {~junk}|empty].
  {spot2} there was {~junk}. {~think_a}. only the last place was left.
- {start@trait} <they looked {spot}, [but there was only {~junk}|but found nothing].;they looked {spot2}, [and found
  {~junk}|in vain].> "[Where were you when you last had it|What did you do first]?" {~ask_b}. {~think_a}. "[I sat down
  to rest|I tied my laces|I stopped to look at a bug]," {~by_a}, "{spot3}!"
- {b} looked {spot}. {a} looked {spot2}. [there was {~junk}, but no {thing}|no {thing}]. {^g} came by. "[What are you
  looking for|Did you lose something]?" {~ask_g}. "A {color} {thing} with {mark}," {~answer_a}. "[I saw something
  {color}|I think I saw it] {spot3}!" {~exclaim_g}.
- "[We will look everywhere|Let us start at the beginning|Two see more than one]," {~by_b}. they looked {spot}. they
  looked {spot2}. they [even asked {~passer}|looked up and looked down]. {~start_or_sad} at last there was only one
  place left: {spot3}.

start_or_sad
- {start@trait}
- {~sad_a}.

passer: the postman | a woman with a cart | an old man | two boys with a ball | a crow

junk: a wet newspaper | half a brick | an angry ant | an empty nest | a bent spoon | a very old sandwich | a doll's
arm | a bottle with no top | two nutshells | an old shoe | a rusty nail | a sleepy beetle | three dead leaves | a
broken cup | a snail | a bit of string | a lost sock | a cold puddle

lost.found
- [a glint of {color}|a bit of {color}|something {color}] {spot3}! {b} saw it first. "[Is that it|Look there, is it
  yours]?" {~ask_b}. {a} picked it up and [turned it over|wiped it clean]. {mark}, just as it should be. {~glad_a}.
- they ran. and there it was, {spot3}, [half under the {ground}|quite safe|a little wet|covered with dust]: a {color}
  {thing} with {mark}. "{^~cheer}!" {~exclaim_a}. {~glad_a}.
- {^spot3}, something [shone|stuck out of the {ground}|was waiting]. {a} [bent down|knelt|reached for it]. it was
  {color}, and it had {mark}. "It is mine!" {~exclaim_a}. "{^~thanks}!"
- but there was nothing {spot3}. {~sad_a}. then {c} came [down the path|around the corner], with something {color} in
  {c.his} {hand}. "Is this [yours|your {thing}]?" {~ask_c}. "Mine has {mark}," {~answer_a}. {c} turned it over. [there
  it was|yes, so had this one]. "Then it is yours," {~by_c}. {~glad_a}.

lost.end
- that evening {a} [tied a string to it|made a little bag for it|put it on the shelf], so that it would not get lost
  again. what {a} remembered best was not the {thing}, but [{b} on both knees, looking|how {b} had not given up].
- on the way home, {a} [held it tight|kept it in both {hands}|looked at it at every corner]. "[I will keep it in a
  safe place|Next time I will watch it better]," {~by_a}. "And if [I lose something|you lose something], we will look
  together," {~by_b}.
- "{^~thanks}," {a} [said to {b}|told {b}]. "[Alone I would have given up|You have good eyes|You did not give up]."
  {a.he} gave {b.him} {~treat} [to share|as a thank-you].
- "Do you know what is better than a {thing}?" {~ask_a}. {b} shook {b.his} head. "Somebody who helps you look for it."

plot.quarrel
- {~opening} // {~quarrel.start} // <{~quarrel.alone};{~quarrel.grown}> // [|{~interlude} ]{way@hint} {~quarrel.peace}
  // {~quarrel.end} {~ending}
- {~quarrel.start} // [|{~interlude} ]{way@hint} {~quarrel.alone} {~opening.short} // {~quarrel.peace} {~quarrel.end}
  {~ending}

opening.short
- {^a} was a {trait.word@trait} {a.kind}. {habit@trait}.
- {weather@weather}

quarrel.start
- {a} and {b} wanted to [paint a sign|build a tower|make a crown] {at}. {a} wanted it {color}. {b} wanted it {color2}.
  "[{^color} is ugly|{^color} is for babies]!" {~snap_b}. "[{^color2} looks like mud|Nobody likes {color2}]!"
  {~snap_a}. {~quarrel.worse}
- {a} and {b} were playing {~game} {at}. both wanted {quarrel.role}. "[It is my turn|I was here first]," {~snap_a}.
  "[No, mine|That is not true|You had it yesterday]!" {~snap_b}. {~quarrel.worse}
- {b} had a new {color} {thing}. "May I hold it?" {~ask_a}. "[Not now|You will break it|Only if you give me yours],"
  {~snap_b}. {a} pulled, {b} pulled, and [crack|snap|rip]! the {thing} [broke|tore|fell] {quarrel.parts}. "[That was
  your fault|Look what you did]!" {~snap_b}. {~quarrel.worse}
- {a} and {b} had {many} {items}. "[I found most of them|I need more than you]," {~snap_a}, "so I get {few}, and you
  get the rest." "[That is not fair|No|I counted them]!" {~snap_b}. {~quarrel.worse}

quarrel.role: to be the captain | to go first | the same stick | to be the king | the best place | to make the rules

quarrel.parts: and could not be played with | in the mud | to the ground with a sad little sound

quarrel.worse
- {a} [turned red|stamped {a.his} foot|crossed {a.his} arms]. "I will [never play with you again|find another
  friend|go home]!" and {a.he} [did|ran off].
- they [shouted|said things that hurt|were both red in the face]. then {b} [walked off|went home] without [a
  word|looking back].
- "[You are mean|You are not my friend anymore]!" {~snap_a}. {b} [said nothing|went away], and that was [worse than
  shouting|the worst of all].

quarrel.alone
- {few} days went by. {a} [saw a funny cloud|heard a good joke|found a {~scrap}] and wanted to tell {b}. then {a.he}
  remembered. [who would laugh now|whom could {a.he} tell]? nobody.
- {a} sat {seat} alone. {a.he} [tried to play {~game} by {a.himself}|threw little stones|drew circles in the dirt],
  but it was [dull|no fun|only half as much fun]. {~detail}
- it was [quiet|too quiet] {at}. {a} [kicked a stone|counted {items}|looked at the sky]. [there was nobody to laugh
  with|it is hard to play {~game} alone].
- that {~time}, {b} [sat at home and looked at the wall|did not touch {b.his} lunch]. and {a} [was no better|felt just
  the same|had no appetite].

quarrel.grown
- {g} gave {a} a stick. "Break it," {~by_g}. {a} did. "Now mend it." {a} tried, but [it would not hold|it stayed
  broken]. "[Breaking is fast, mending is slow|It takes two hands and some time]," {~by_g}, "so [begin soon|do not
  wait too long]."
- {g} was {~adult.work}. "[Why the long face|Where is {b.name} today|Why are you so quiet]?" {~ask_g}. {a} told
  {g.him} [all about it|the whole story]. {g} [nodded|listened|went on with {g.his} work]. "[Do you want to be right,
  or do you want a friend|What would you want {b.name} to do now|Who could say sorry first]?" {~ask_g}. {~think_a}.
- "When I was small," {~by_g}, "I had a fight with my best friend [over a {thing2}|about nothing]. I waited [a week|a
  month|a year] for {quarrel.wait}. [I still wish I had gone sooner|It was a long time]." {a} [looked up|listened
  well].

quarrel.wait: somebody to say sorry | a knock at the door | my friend to come

quarrel.peace
- somebody had to be first. {dare@trait} "{b.name}?" {~ask_a}. "[I made you something|You can go first today|I do not
  want to be right anymore]." {b} [turned around|was silent, but only for a moment]. "{^~sorry}, too," {~answer_b}.
- {dare@trait} {a.he} went to find {b}. {b} was {seat2}. "{^~sorry}," {~by_a}. "[So am I|I am sorry too|I missed
  you]," {~by_b}.
- {a} took {~treat} and went to {b}. they both began to talk at the same time, and then both had to laugh. "You
  first," {~by_b}. "{^~sorry}," {~by_a}.
- {b} came up the path with something behind {b.his} back. "I brought you [this|half of my lunch|a {thing3}],"
  {~by_b}. "[I do not want to fight|I was too loud]." "{^~sorry} too," {~by_a}.

quarrel.end
- "What was it all about?" {~ask_b} [later|that evening]. {a} [had to think|did not know anymore]. they laughed, and
  then they shared {~treat}, [half and half|and each wanted the other to have the bigger half].
- after that they [took turns|drew straws when they could not agree|made a rule: each one first on every other day],
  and [it worked|there was more time to play].
- "Next time we count to [ten|five|seven]," {~by_a}. "To twenty," {~by_b}, and they shook {hands} on it.
- a friend, {a} thought, is [worth more than being right|worth more than {few} {items}|not something to throw away].

plot.promise
- {~opening} // [{~promise.days}|{~promise.once}] // [|{~interlude} ]{way@hint} {~promise.kept} // {~promise.good}
  {~ending}
- {~opening} // {~promise.days} // [|{~interlude} ]{way@hint} {~promise.forgot} // {~promise.mend} {~ending}
- {~opening} // {~promise.once} // [|{~interlude} ]{way@hint} {~promise.late} // {~promise.mend} {~ending}
- {~promise.once} {~opening.short} // [|{~interlude} ]{way@hint} {~promise.late} // {~promise.mend} {~ending}
- [{~promise.days}|{~promise.once}] {~opening.short} // [|{~interlude} ]{way@hint} {~promise.kept} // {~promise.good}
  {~ending}

promise.days
- "Will you [water my plants|feed my {promise.pet}|look after my {promise.pet}] while I am away?" {~ask_g}. "{^many}
  days, until I am back." "I promise," {~by_a}. "[Every day|You can count on me|I will not forget]." {g} gave {a.him}
  a {color} key, and {a} kept it {promise.key}.
- {g} had to go away for {many} days. "[I worry about|I do not like to leave] my {promise.pet}," {~by_g}. "[I will|Let
  me]," {~by_a}. "I promise to come every {~time}." {g} wrote it on a {color} card: [food, water and a kind word|{few}
  spoons of food, no more], and {a} kept the card {promise.key}.

promise.once
- {g} was sick in bed. "[Please visit me|Come and read to me] at {~hour}," {~by_g}. "And bring the {color} {thing},
  the one that is {spot}." "I promise," {~by_a}.
- {g} was {~adult.work}. "I need help at {~hour}," {~by_g}. "[Someone must carry the baskets|There are {many} jars to
  wash]. Can I count on you?" "I promise," {~by_a}, and they shook {hands}.
- "We meet {at} at {~hour}," {~by_g}, "and then we will [paint the fence|pick {items}|carry the {items} home]
  together. Do not be late." "I promise," {~by_a}.

promise.pet: rabbit | hens | goldfish | old cat | ducks

promise.key: in {a.his} left pocket | on a string around {a.his} neck | under {a.his} pillow

promise.kept
- "[Leave it for once|Nobody will notice|You can do it tomorrow]," {~by_c}, who [had come to play {~game}|was bored].
  {dare@trait} "[I would notice|Then it would be a lie]," {~by_a}, and [went on|did what {a.he} had promised, and did
  it well].
- then {c} came running. "[Everyone is playing {~game} {at}|There is a band {at}|The big boat is here], come on!"
  {~exclaim_c}. {a} wanted to go [very much|so badly that it hurt]. {~think_a}. "[I gave my word|I promised
  something|Not today]," {~by_a}. "First I have to do it." {c} [shrugged|ran on|looked surprised].
- it was not easy. {a} was [tired|cold|in the middle of a game], and nobody would have [known|seen]. but [a promise is
  a promise|{a.he} had given {a.his} word], and {a.he} got up and went.

promise.good
- when it was done, {g} [counted everything|looked around] and found [nothing missing|all as it should be]. "[I knew I
  could ask you|You are as good as your word]," {~by_g}. and the next time there was [something important to do|a
  secret to keep], {g} asked {a}.
- later {g} [came|heard of it] and [looked at everything|smiled]. "You kept your word," {~by_g}. "[That is worth more
  than gold|Now I know whom I can trust|That is what I call a friend]." and {a.he} got {~treat}. {~glad_a}.
- {b} heard about it too. "[Did you not want to play|Was it hard]?" {~ask_b}. "[Only at first|A little]," {~answer_a}.
  "[But a promise is like a bridge: somebody is standing on it|But if I say it, I do it]."

promise.late
- it began with a {~scrap} on the path. then there was [a puppet show|a new ladder to climb|a very fat cat] to look
  at, and {c} [knew a joke|had {~treat} to share]. when the clock struck, it struck [once too often|later than {a} had
  thought]. "{^~oh}!" {~exclaim_a}. "I gave my word!"
- but on the way {c} called, "[We are playing {~game}|Come and see my {thing2}]!" [just for a minute, {a} thought|{a}
  stopped to look]. one game became two, and [two became {many}|the minute became an hour]. when {a.he}
  [remembered|looked at the sky], it was [late|almost dark]. "{^~oh}, my promise!" {~exclaim_a}.
- {a} wanted to rest a little first, {seat}. {a.he} closed {a.his} eyes. when {a.he} opened them again, [the sun was
  low|the street was empty]. {~sad_a}. "{^~oh}, I am too late!" {~exclaim_a}.

promise.forgot
- the first day went well. on the second day [the sun was so nice|there was so much to do], and {a} [forgot.|said,
  "Tomorrow is soon enough."] and the next day {a.he} forgot again. then, in bed, {a.he} remembered. {~sad_a}.
- for {few} days all was well. then {c} came and wanted to play {~game}, and the day after too. it was {weekday} when
  {a} found {a.his} promise again, [in {a.his} head, like a lost sock|with a cold feeling in {a.his} stomach].
  {~sad_a}.

promise.mend
- "Where were you?" {~ask_g}. {dare@trait} "I have no good reason. I forgot," {~answer_a}. "{^~sorry}." {g}
  [sighed|looked out of the window]. "[That was honest|No story about a dragon, then]. [Sit down|Come in]," {~by_g}.
  "It is easier to [make ten promises than to keep one|promise less and do more]." {a} [never forgot that|thought so
  too].
- {a} ran [all the way|as fast as {a.his} legs would go]. {g} was waiting. {a} did not [make up a story|say that it
  was {c.name}'s fault]. "I forgot my promise," {~by_a}. "{^~sorry}." {g} was [quiet|silent] for a while. "[Thank you
  for telling me the truth|I was sad, but I am glad that you came]," {~by_g}. "[How will you put it right|What will
  you do about it]?" {a} [worked until the stars came out|did not need to think for long, and set to work].
- there was only one thing to do. {dare@trait} {a} went back, [did what {a.he} had promised|did twice the work] and
  said, "{^~sorry}." "[Words are light|It is easy to promise]," {~by_g}. "Keeping them is the heavy part." from then
  on {a} tied a {color2} string around one finger, so as not to forget.

plot.rescue
- {~opening} // {~rescue.find} // {~rescue.try} // [|{~interlude} ]{way@hint} {~rescue.free} // {~rescue.end}
  {~ending}
- {~rescue.find} {~opening.short} // [|{~interlude} ]{way@hint} {~rescue.try} {~rescue.free} // {~rescue.end}
  {~ending}

rescue.find
- it was {b} who [stopped|put a finger to {b.his} lips]. "[There is something|I can hear something] {nook}," {~by_b}.
  they [crept|went] closer. a {fur} {animal}! {a} saw at once what was wrong: {trouble}.
- one {~time} {at}, {a} heard [something|a small sound]. {^nook}, a {~size} {fur} {animal} {cry}. {trouble}! "[You
  poor thing|Do not be afraid]," {~by_a}.
- {a} and {b} were playing {~game} {at}. "[Listen|Hush|Do you hear that]!" {~exclaim_b}. it came from somewhere
  {nook}. there they found a {fur} {animal}. it {cry}, for {trouble}.
- "Come quick!" {~exclaim_b}. "There is a {animal} {nook}, and {trouble}!" {a} [dropped everything|left {a.his}
  lunch|jumped up] and ran. the {animal} was {fur} and [shook all over|looked at them with big eyes].

rescue.try
- "[Should we leave it|What if it bites]?" {~ask_b}. "[It needs us|Nobody else is here]," {~answer_a}. {a.he} took off
  {a.his} coat and [moved slowly|made {a.himself} small]. the {animal} {cry}, but [it let {a.him} come|its eyes were a
  little less wild].
- {start@trait} the {animal} was [afraid|wild with fear] and would not let {a.him} come near. "[We have to be
  quiet|Slowly]," {~by_b}. {a} sat down on the {ground} and [hummed|talked softly|waited] until it was [calm|still].
- first {a} tried to call it, [but it did not move|but that only scared it]. then {b} had an idea. "[It must be
  hungry|Try some food]." {a} held out {food}, [and it sniffed|and it came a bit closer].
- "[We need help|You stay here]," {~by_a}. "I will get {g}." {a.he} ran [home|down the path] and came back with {g},
  [a blanket|a rope|a pair of gloves] and {food}.

rescue.free
- it took {few} tries. {b} held the {animal}, and {a} {freed}. [for a moment nobody moved|they could feel its heart
  beat]. then it [ate {food} out of {a.his} {hand}|tried its legs and went off, slowly first, then fast].
- then, {~slow}, {a} {freed}. the {animal} was free! it [stood still for a moment|shook itself|looked back once], as
  if to say thank you, and [was gone|went home|hurried away].
- {b} held {b.his} breath. {a} {freed}, [and it worked|and at last it was free]. "{^~cheer}!" {~exclaim_b}. they gave
  it {food} and let it rest [in a basket|in {a.his} coat|in the shade] [for {few} days|until evening].

rescue.end
- "[Will we see it again|Will we ever meet it again]?" {~ask_b}. "[I think so|Maybe]," {~answer_a}. and they did: one
  {~time}, {few} weeks later, the {fur} {animal} {thank}. [it had grown|it had brought a friend].
- {few} weeks later, {a} was {at} again. and who was there? it was the {fur} {animal}! it {thank}. "It remembers us,"
  {~by_b}.
- "You have [gentle {hands}|a good heart]," {~by_g}. "[Big or small, everyone needs help sometimes|It cannot say
  thanks, but it knows]." {~glad_a}.
- after that, whenever they passed {spot_words}, {a} [looked out for the {animal}|left {food} there]. and one {~time}
  it {thank}.

spot_words: the {place} | that spot | the same place

plot.storm
- {~opening} // {~storm.calm} {~storm.comes} // {~storm.shelter} // {~storm.wait} // {~storm.over} {~ending}
- {~storm.calm} {~opening.short} {~storm.comes} // {~storm.shelter} {~storm.wait} // {~storm.over} {~ending}

storm.calm
- it was {weekday}, and {a} and {b} had a picnic {at}: {~treat}, {~treat} and {many} {items}. [a lark was singing, and
  then it was not|the flies were biting]. "[How quiet it is|The air feels heavy]," {~by_b}.
- {a} and {b} were {at}, looking for {items}. they had {many} already. [the air was very still|not a leaf moved|it was
  warm, almost too warm].
- "Can we go to the {place}?" {~ask_a}. "[Yes, but come back if the sky gets dark|Yes, but stay together],"
  {~answer_g}. so {a} and {b} [packed {~treat} and|put on their boots and|] went.

storm.comes
- a cloud as [black as a stove|dark as a plum] came over the {place}. [the birds fell silent|a cold wind got up], and
  the first drops were as big as [coins|cherries]. {~boom}! "[Run|Leave everything]!" {~exclaim_a}.
- then the sky turned [black|dark|as dark as slate]. the wind [howled|threw {ground.dust} in their faces|bent the
  trees]. {~boom}! "{^~oh}!" {~exclaim_b}. "[A storm|We must get inside|We have to go]!"
- far away, there was a low rumble. {a} counted: [one, two, three, four, five|one, two, three]. {~boom}! "It is coming
  closer," {~by_a}. [fat drops fell|hail began to jump on the path|the first drops fell].

ground.dust: dust | leaves | cold drops

boom: boom | crash | bang | flash, then boom

storm.shelter
- {b} ran toward a tall tree. "[Stop|Come back]!" {~exclaim_a}. "[Lightning likes tall trees|That is the worst place]!
  Over there!" and they got into [a shepherd's hut|an empty barn|the porch of the mill], [wet to the bones|out of
  breath].
- "[Not under a tree|Trees are not safe in a storm]," {~by_a}. "{^g} told me so." they ran to [the old barn|a small
  stone hut|the mill|a low cave] and [shut the door|crept in|sat down in a dry corner]. {b} was [shaking|crying a
  little|as white as milk].
- they had left the {color} {thing} {spot}! {b} wanted to go back. "[No, a {thing} can get wet, but we must be
  safe|Leave it]," {~by_a}, and took {b.his} {hand}. they ran until they reached [the barn|a hut|the house of {c}].

storm.wait
- {b} [would not open {b.his} eyes|held on to the door]. so {a} [made up|told] a story about {~storytopic}. whenever
  it thundered, {a} said, "[That was the giant's stomach|Somebody up there dropped a pot]," and {b} had to
  [laugh|smile] a little.
- to pass the time they [told jokes|sang every song they knew|counted the time between flash and boom]. [the time grew
  longer: the storm was going away|at the {many_th} song {b} was laughing again]. they shared {~treat}.
- "[Are you afraid|Do you like thunder]?" {~ask_b}. "[A little|Not with you here|Yes, but it helps to hold {hands}],"
  {~answer_a}. {a.he} [told a story about {~storytopic}|hummed a tune], and [soon|after a while] {b} was not shaking
  anymore.

many_th: third | fifth | seventh

storytopic: a hat that could sing | two snails on a trip | a hen who wanted to be queen | a moon made of bread | a
whale in a bathtub | a bear who lost his growl | a shoe that walked alone | a tree that was afraid of birds | a tailor
and nine mice | a clock that ran backward | a cloud who wanted to be a sheep | a giant with a cold | a king who could
not sneeze | a very small whale

storm.over
- then a last far rumble, and [it was over|silence]. the {place} was full of puddles, and in every puddle there was [a
  piece of sky|a bit of sun]. "{^~oh}, you must have been afraid," {~by_g}, who came with [coats|a cart]. "[Only half,
  because there were two of us|We were afraid together, and that is less]," {~by_a}.
- at last [it grew light|the rain stopped|the birds began to sing]. a rainbow stood over the {place}. {g} came
  running, [wet to the skin|with a lamp|with two coats]. "There you are! [I was so worried|How clever of you to stay
  inside]," {~by_g}.
- when it was over, [branches lay everywhere|the path was a brook|the air smelled new]. they found the {storm.found}
  {spot2}. "[The storm is bigger than we are|Storms pass]," {~by_a}, "but [we were two|we were not silly]." at home
  there was {~treat} [for both|by the stove].

storm.found: basket with the {many} {items} | {color2} cap of {b}

plot.skill
- {~opening} // {~skill.want} // {~skill.first} // {~skill.help} // [|{~interlude} ]{way@hint} {~skill.again} //
  {~skill.done} {~ending}
- {~skill.want} {~opening.short} {~skill.first} // [|{~interlude} ]{way@hint} {~skill.help} {~skill.again} //
  {~skill.done} {~ending}

skill.want
- "[In one month there is the big fair|On {weekday} we all go to the {place}]," {~by_b}, "and everyone will {skill}."
  {a} [went pale|said nothing]. {a.he} did not know how. "[I have to learn|There is still time]," {a} thought.
- everyone could {skill}, [only {a} could not|it seemed, except {a}]. even {b} could. "[Will you teach me|How do you
  do it]?" {~ask_a}.
- {a} wanted to [learn to {skill}|{skill} more than anything]. "[It is not easy|It takes time]," {~by_g}. "[I do not
  mind|I will learn it by {~weekday}]," {~by_a}.
- one {~time} {at}, {a} saw {c}, who could {skill} [very well|as if it was nothing]. {a} watched [with an open
  mouth|for a long time]. "I want to do that!"

weekday: Monday | Tuesday | Wednesday | Thursday | Friday | Saturday | Sunday

skill.first
- "[How hard can it be|It looks easy]?" {~ask_a}. it was hard. {a.he} tried and {skill.fail}. {a.he} [rested|rubbed
  {a.his} knee], tried again and {skill.fail}. {b} [looked away so as not to laugh|said nothing, which was kind].
- {start@trait} the first time, {a.he} {skill.fail}. the second time, {a.he} {skill.fail} again. {c}
  [laughed|giggled]. {~sad_a}.
- on the first day, {a} {skill.fail}. "{^~oh}," {~by_a}. on the second day it was [no better|just the same]. "I
  [cannot do it|will never learn it]!"

skill.help
- "Show me how you do it," {~by_b}. {a} showed {b.him}. "[I see|Ah]. You forget something: {skill.tip}." {b} [showed
  it slowly, {few} times|drew it in the dirt]. "[That is all|Nobody told me either]."
- {b} sat down beside {a.him}. "[It took me {many} weeks|I fell a hundred times|I cried the first time too]," {~by_b}.
  "You [just|only] have to {skill.tip}." "Really?" {~ask_a}.
- {g} was {~adult.work}. "Try it once more, but {skill.tip}," {~by_g}. "[Every master was once a beginner|Nobody is
  born with it|Your hands need time to learn]."

skill.again
- "{^skill.tip}," {a} said to {a.himself}, [over and over|under {a.his} breath]. on {~weekday} {a.he} {skill.part}.
  {g} [nodded from the window|looked up from {g.his} work]. on the next day it was [a bit better|a bit worse, and the
  day after much better].
- so {a} tried again, {few} times every day: {skill.tip}. [slowly, slowly it got better|on Tuesday it went wrong, on
  Wednesday less wrong]. then one {~time}, {a.he} {skill.part}. "[Did you see that|That was almost it]!" {~exclaim_a}.
- {a} practiced {at}, in the morning and [before bed|after school]. {a.he} {skill.part}. that was [something|a
  beginning]. {a.his} [knees were blue|{hands} were tired], but {a.he} [did not stop|went on].

skill.done
- and on the {many_th} {~weekday}, it happened. {a} {skill.win}! "{^~cheer}!" {~exclaim_b}. {~glad_a}. it had not been
  luck. it had been [{total} tries|work, and a bit of help].
- when {g} came to watch, {a} {skill.win}. {g} [clapped|threw {g.his} hat in the air|could hardly believe it]. "How
  did you do that?" {~ask_g}. "I [fell down {many} times and got up {one_more} times|just did not stop]," {~answer_a}.
- at last {a} {skill.win}. the next day, a smaller child came and asked, "How do you do it?" {a} smiled.
  "{^skill.tip}," {~by_a}. "And [try again tomorrow|do not give up]."

plot.sharing
- {~opening} // {~sharing.have} // {~sharing.ask} // [|{~interlude} ]{way@hint} {~sharing.turn} // {~sharing.end}
  {~ending}
- {~sharing.have} {~opening.short} {~sharing.ask} // [|{~interlude} ]{way@hint} {~sharing.turn} {~sharing.end}
  {~ending}

sharing.have
- it was a good year for {items}, but {a} was the only one who knew the best spot, {nook}. soon {a.he} had {many},
  [all in a row|in a {color} jar]. "[Mine, all mine|Nobody has more]," {a} whispered.
- {a} had {many} {items} [in a {color} bag|in a {color} box|in {a.his} cap]. {g} had given them to {a.him} [for
  helping|that {~time}]. {a} counted them again and again: {many}.
- {at}, {a} [found|picked|gathered] {many} {items} and put them in a {color} basket. [nobody had ever had so many|they
  were all for {a.him}].

sharing.ask
- "How many have you got?" {~ask_b}. "{^many}," {~answer_a}. "[I have none|Mine all fell into the river]," {~by_b} and
  [looked at them|waited]. {~sharing.no}
- {b} came by, with [empty {hands}|nothing at all]. "[May I have one|Could you spare some|Will you give me one]?"
  {~ask_b}. {~sharing.no}
- {b} and {c} sat {seat} and [looked on|had none]. {~sharing.no}

sharing.no
- "[They are mine|I need all of them|Find your own]," {~by_a}. {b} [said nothing|went away with slow steps|turned
  around]. {a} counted again: {many}. [but they did not make {a.him} glad|it was strange: they looked smaller now].
- {a} [put {a.his} arms around them|hid them behind {a.his} back]. {b} [looked down|sighed]. {a} sat there with {many}
  {items} and [nobody to show them to|nobody to laugh with].

sharing.turn
- at night {a} dreamed that the {items} grew and grew until there was no room for {a.him} in the {color} bed. in the
  morning {dare@trait} {a.he} took {few} of the {many} and [put them at {b}'s door|ran over to {b}]. {left} were left,
  and {a} felt lighter.
- then {a} [stumbled|slipped on the {ground}], and all the {items} rolled away. {b} [came back|jumped up] and helped
  to look for them, {spot}, {spot2}, {spot3}. soon there were {many} again. {a} [turned red|was ashamed]. "[Why did
  you help me|Why are you so kind to me]?" {~ask_a}. "[You looked sad|That is what friends do]," {~by_b}. and {a} gave
  {b.him} {few}.
- {~think_a}. {a.he} [remembered how {b} had once shared {~treat} with {a.him}|thought of {b}'s face]. {dare@trait}
  "Here," {~by_a}, "take {few}. [I have {left} left|That leaves {left} for me], and {left} is [plenty|enough]."
- {g} had seen it. "[Do they taste good alone|Are you having fun]?" {~ask_g}. {a} [shook {a.his} head|did not answer].
  "[A thing gets better when there are two to like it|Joy is the only thing that grows when you cut it in half],"
  {~by_g}. so {a} called {b} and gave {b.him} {few} of the {many} {items}.

sharing.end
- "Why {few}?" {~ask_b}. "[Because {left} is enough for me|I counted, and that felt right]," {~answer_a}. they sat
  {seat} and [played until dark|looked at all {many} of them together]. it was [more fun than owning them|better than
  before].
- now {a} had only {left}. but they [played shop with them all {~time}|laid a long line on the {ground}|had more fun
  than ever], and {left} and {few} together were {many} again.
- {b} [smiled|was so glad that {b.he} jumped]. the next day {b.he} brought {~treat} and gave {a} the bigger half.
  [{left} {items} and a friend are more than {many} alone|{a} never counted alone again].

plot.surprise
- {~opening} // {~surprise.plan} // {way@hint} {~surprise.work} // {~surprise.nearly} // {~surprise.end} {~ending}
- {~surprise.plan} {~opening.short} // {~surprise.work} {~surprise.nearly} // {way@hint} {~surprise.end} {~ending}

surprise.plan
- {g} [was always the one who helped others|had been sad lately]. "[Let us do something for {g.him}|We could make
  {g.him} laugh]," {~by_b}. "A {color} {gift}," {~by_a}, "by {weekday}. And {g.he} must not [know|see it]!"
- {^g}'s birthday was on {weekday}. "[Let us make something|I have a plan]," {a} whispered to {b}. "A {color} {gift}.
  But [not a word|it must be a secret]!"
- "[Can you keep a secret|Come here, but be quiet]," {a} whispered. {b} [nodded|came close]. "It is for {g.name}, for
  {weekday}: a {color} {gift}."

gift: hat with a {color2} feather | rocking chair | clock without a tick | bird bath | book of stories | kite with a
face | pair of slippers | jar of {many} wishes | garden gate | quilt with stars | poem of {many} lines | soft cushion
| cake with {many} candles | blanket made of {many} pieces | chair for the garden | crown of paper flowers | picture
of the {place} | box with {many} {items} in it | garden bench | lamp made of paper

surprise.work
- first they needed [paint|paper|wood|thread], and {a} gave {few} coins for it. then they needed a place, and that was
  {nook}. then they needed time. {start@trait} {~surprise.bit}
- they worked {nook}, where {g} never looked. {b} [held|cut|mixed|brought] and {a} [painted|sewed|stirred|measured].
  {~surprise.bit}
- every day after school they met {nook}. {start@trait} {~surprise.bit} there was {color} paint on {a.his} nose and on
  {b.his} ears.
- it was a lot of work. {~surprise.bit} "[Will we be done by {weekday}|Is it too crooked]?" {~ask_b}. "[If we hurry|It
  is fine]," {~answer_a}.

surprise.bit
- once they had to begin all over again.
- {c} helped too, and [could hardly keep quiet|promised to tell nobody].
- it took {few} days and {many} tries.

surprise.nearly
- {c} almost [told|gave it away]. "How is the {gift}?" {~ask_c}, and {g} stood right behind {c.him}! "[The what|Which
  one]?" {~ask_g}. "[Just a word from a game|Nothing, nothing]," {a} said quickly. {g} went on, shaking {g.his} head.
- on the day before, {g} came [around the corner|up the path]. "[What are you doing there|What is that {color} spot on
  your nose]?" {~ask_g}. {~think_a}. "[Nothing|We are playing {~game}|It is jam]," {~by_a}, [very red|with big round
  eyes]. {g} [looked at them|raised one eyebrow] and went [in|on]. "Phew!" {~exclaim_b}.
- "Why are you always {nook} now?" {~ask_g}. {b} [coughed|dropped the brush]. "[It is a game|You will see on
  {weekday}]," {~by_a}. {g} looked a bit sad. {g.he} thought that everyone had forgotten.

surprise.end
- {g} came home on {weekday} and [the house was dark|nobody was there]. "[Hello|Is nobody home]?" {~ask_g}. then
  {~quick.light}, and there was a {color} {gift}, with {a} and {b} behind it. {g} did not speak for [a long time|as
  long as it takes to count to {many}]. "[So you had not forgotten me|You two can keep a secret]," {~by_g}. [it had
  been the hardest secret of all|they all sat up late].
- on {weekday}, {g} [opened the door|came in]. "Surprise!" & they all shouted. there it stood: a {color} {gift}. {g}
  [put {g.his} {hand} to {g.his} mouth|had to sit down|wiped {g.his} eyes]. "[And I thought you had forgotten|You made
  this yourselves]?" {~ask_g}. "[That is what you did {nook}|So that is the secret]!"
- when {weekday} came, they tied a cloth over {g.his} eyes and led {g.him} there. {g} looked. {g} looked again. "[It
  is the nicest thing I ever got|For me]?" {~ask_g}, and [hugged them both|laughed and cried at once]. [a secret is
  heavy|it is hard to keep a secret], {a} thought, but [this one was worth it|a good one ends in a hug].

plot.dark
- {~opening} // {~dark.why} // {~dark.go} // {~dark.sound} // {~dark.truth} // {~dark.end} {~ending}
- {~dark.why} {~opening.short} // {~dark.go} {~dark.sound} // {~dark.truth} {~dark.end} {~ending}

dark.why
- "Whose turn is it to [fetch the wood|shut the gate]?" {~ask_g}. it was {a}'s turn. outside it was night, [with no
  moon|and the path was long]. {b} [looked out and shook {b.his} head.|whispered, "Take a lamp."]
- it was night, and {a} lay in bed. [then {a.he} remembered|{a.he} sat up]: the {color} {thing} was still outside,
  {spot}! and [it was going to rain|{b} needed it tomorrow].
- the lights went out [all over the house|with a click]. "{^~oh}," {~by_g}. "The candles are [in the cellar|in the
  shed], in the {color} box. Who will get them?" {b} [shook {b.his} head|looked at the floor].
- {a} and {b} slept in a tent {at}. in the middle of the night {b} [woke up|shook {a}]. "[There is something out
  there|I heard a noise]," {~by_b}.

dark.go
- {dare@trait} the {color2} lamp made [a small round island of light|long shadows]. {a} said {a.his} own name, then
  {b}'s, then {g.name}'s. it helped. [{many} steps|{total} steps], then {few} more.
- {dare@trait} it was [as dark as the inside of a boot|so dark that {a.he} could not see {a.his} own {hands}]. {a}
  took the {color2} lamp and [counted the steps|sang very softly|put one foot in front of the other]. one, two, three.
- {a} was afraid, [there is no use saying {a.he} was not|and {a.his} knees knew it]. but [somebody had to go|{b} was
  smaller|waiting was worse]. {a.he} [held the lamp high|took a deep breath] and went.

dark.sound
- something [breathed|moved|rustled] {spot2}. {^~sound}! the lamp [shook|almost went out]. {a} thought of
  [wolves|ghosts|a thing with many teeth]. "[I am not alone, I have a lamp|Go away]," {a.he} whispered.
- {^~sound}! something moved {spot2}. two [green|yellow|round] eyes shone in the dark. {a} [wanted to run|stood still
  like a post|could hear {a.his} own heart].
- {^~sound}. {^~sound}. it was [big|close|right behind {a.him}]! "[Who is there|Hello]?" {~ask_a}. nobody answered.
  {a.he} thought of what {g} always said: [look at it, and it gets smaller|most monsters are coats].

dark.truth
- it came closer, and closer, into the light. {^~dark.thing}! "[You gave me a fright|Is that all]!" {~exclaim_a}.
  {a.his} knees [were still soft|went on shaking for a bit], but {a.his} mouth was already [laughing|smiling].
- {a} lifted the lamp. it was only [{~dark.thing}|{~dark.thing}]! {a} laughed so loudly that [the owls woke up|it
  echoed|{b} heard it].
- "[I will look at you now|I have a lamp and I am not going away]," {~by_a}, and {a.he} looked. and what was it?
  {^~dark.thing}. "[Were you afraid too|So it was you]?" {~ask_a}.

dark.thing: the neighbor's cat | a hedgehog with a leaf on its back | an old coat on a nail | a loose branch | {c}
looking for a lost sock | a sleepy owl | a frog in a tin can | a shirt on the line

dark.end
- "What was out there?" {~ask_b}. "[The same things as in the day|Nothing that is not there at noon]," {~answer_a}.
  "[They just look bigger|You can go next time, I will hold the lamp]."
- when {a.he} came back, {b} asked, "Were you not afraid?" "[Of course I was|Yes, all the way]," {~by_a}. "[But I went
  anyway|Brave is when you are afraid and go]."
- {g} put an arm around {a.him}. "The dark is [only the day with its eyes shut|the same place with the light off],"
  {~by_g}. {a} [nodded|yawned] and [fell asleep|slept well that night].

plot.trade
- {~opening} // {~trade.first} // {~trade.second} // [|{~interlude} ]{way@hint} {~trade.third} // {~trade.end}
  {~ending}
- {~trade.first} {~opening.short} // [|{~interlude} ]{way@hint} {~trade.second} // {~trade.third} {~trade.end}
  {~ending}

trade.first
- {a} had a {color} {thing}, but what {a.he} [really|truly] wanted was the {color2} {thing2} of {c}. "[Will you
  swap|Can we trade]?" {~ask_a}. "[No, but I would take a {thing3}|Only for a {color3} {thing3}]," {~answer_c}.
- {a} wanted a {color2} {thing2}, like the one {c} had. all {a.he} owned was a {color} {thing} with {mark}. "I would
  give mine for a {thing3}," {~by_c}. {~think_a}.

trade.second
- "[I have a {thing3} too|I hardly use my {thing3}]," {~by_b}. "What do I get for it?" {a} held out the {color}
  {thing}. {dare@trait} "[You should know that it has {mark}|It is not new]," {~by_a}. "[I like it that way|Thank you
  for saying so]," {~by_b}, and it was a deal.
- so {a} went to {b}, who had a {thing3}. "I will give you my {color} {thing} for it," {~by_a}. {b} [turned it
  around|looked at it for a long time]. "[What is wrong with it|Why|Does it work]?" {~ask_b}. {dare@trait} "[Only that
  it has {mark}|It has {mark}]," {a} said, [for {a.he} did not want to cheat|and that was the truth]. "[Then it is
  a deal|I like that even better]!" {~exclaim_b}.
- {^at} {a} met {b}, who held a {thing3} and looked bored. "[I am tired of this|I would like something new]," {~by_b}.
  {a} showed {b.him} the {color} {thing}. they [spat in their {hands} and shook|shook {hands}]. now {a} had the
  {thing3} and {b} had the {thing}.

trade.third
- so {a} had a {thing3}, and {c} had a {color2} {thing2}, and a moment later it was the other way around. [they both
  looked pleased|each thought that the other had got less]. but that night it {~trade.dull}.
- {a} ran to {c}. "Here is your {thing3}!" and {c} [kept {c.his} word|handed over the {color2} {thing2}]. {a} [held it
  up to the light|took it home]. but [the next day|that {~time}] it {~trade.dull}.
- but on the way, {a.he} met a small child who [cried|had lost everything]. "[I have nothing to play with|My {thing3}
  fell into the river]," the child said. {~think_a}. then {a} gave the {thing3} away, for nothing. {c} had seen it
  all. "[You can have the {thing2} anyway|Come, we will play with the {thing2} together]," {~by_c}.

trade.dull
- lay in a corner. {a} missed the old {color} {thing}, [which {a.he} had owned for years|the one with {mark}]
- was just a {thing2}. {a} had wanted it so much, and [the wanting had been nicer|now it was only one thing more]

trade.end
- "[Are you happy with it|Do you want it back]?" {~ask_b}. {a} [thought about it|smiled]. "[Let us share both|You keep
  it, but let me visit it]," {~by_a}. and so [the {thing} had two owners|they did].
- "So, [what did you get for your {thing}|how did the day go]?" {~ask_g}. {a} counted on {a.his} {hands}: [first a
  {thing3}, then something better|a {thing} went away, a {thing3} came and went]. "[And a new friend|And I told the
  truth]," {~by_a}. "That is a good trade," {~by_g}.

plot.build
- {~opening} // {~build.plan} // {~build.work} // {~build.fail} // [|{~interlude} ]{way@hint} {~build.fix} //
  {~build.end} {~ending}
- {~build.plan} {~opening.short} // [|{~interlude} ]{way@hint} {~build.work} {~build.fail} {~build.fix} //
  {~build.end} {~ending}

build.plan
- it all began when {a} said, "{^building}!" {b} [put down {b.his} cup|looked up]. "[What about it|What do you mean]?"
  {~ask_b}. "[We could make one|I have wanted one for {few} years]," {~by_a}. "We only need {parts}."
- "[I know what we can do|Listen, I have an idea]," {~by_a}. "We will build {building}!" "[Out of what|Can we do
  that]?" {~ask_b}. "Out of {parts}," {~answer_a}. "[There are some {nook}|I saw some {nook}]."
- {a} had found {parts} {nook}. {b} had a {color} [hammer|bag of tools|pot of paint]. "Together that makes
  {building}," {~by_b}.

build.work
- {a} drew a plan with [a burned stick|a blue crayon]. {start@trait} {^parts} lay everywhere. "[Hold this|Higher|A bit
  to the left]," {~by_a}. "[My arms are tired|Make up your mind]," {~by_b}. it took all {~time}.
- {start@trait} they carried, [sawed|cut|pulled] and [tied|pushed|glued] all {~time}. {a} [hit {a.his} thumb|did the
  thinking], {b} [did the climbing|held the heavy end].
- {b} wanted to go fast. {a} wanted to [measure first|do it right|go even faster]. [so they did a bit of both|they
  talked about it for a while]. {^~later}, it was done, and they painted it {color}.

build.fail
- "[Ready|Shall we]?" {~ask_a}. "Ready," {~answer_b}. they let go. {^~sound}! {flaw}. [for a while nobody said
  anything|a crow laughed]. {~sad_b}.
- they stepped back to look. {^~oh}: {flaw}! {c} [laughed|grinned]. "Is that {building}?" {~ask_c}. {~sad_a}.
- then they tried it out. {^~sound}! {flaw}. "[It is no good|All that work for nothing]," {~by_b}, and [threw down the
  tools|sat down on the ground].

build.fix
- {a} walked around it {few} times. {~think_a}. "[Wait|I see it now]!" {~exclaim_a}. and {a.he} {fixed}.
- "[Let us think|A mistake is just a clue]," {~by_a}. {a.he} [looked underneath|looked at it from all sides]. then
  they {fixed}. "[Try it now|Careful]," {~by_b}.
- even {c} [stopped laughing|came to help]. "[I had that once|I know that problem]," {~by_c}. the three of them
  {fixed}.

build.end
- that evening they sat {seat} and looked at it. "[It is a bit crooked|It is not perfect]," {~by_b}. "[So are we|So is
  the moon, sometimes]," {~answer_a}. then they painted a {color2} [star|sun|fish] on it.
- now it worked! "{^~cheer}!" {~exclaim_b}. they wrote three names on it in {color2} paint: {a.name}, {b.name} and,
  [because that was fair|last], {c.name}.
- now it stood there, {color} and [a bit crooked|proud], and [everybody wanted to see it|all the {all} came to try
  it]. "You made that?" {~ask_g}. "[Twice|The second time, we did]," {~answer_a}.

plot.lie
- {~opening} // {~lie.deed} // {~lie.told} // {~lie.cost} // {~lie.truth} // {~lie.end} {~ending}
- {~lie.deed} {~opening.short} {~lie.told} // {~lie.cost} // {~lie.truth} {~lie.end} {~ending}

lie.deed
- {g} had a {color} {lie.object}. "[Please do not touch it|Look, but do not touch]," {~by_g}. but {a} [only wanted to
  hold it|played {~game} indoors]. {^~sound}! now it was in {few} pieces. {a} hid the pieces {spot}.
- there were {many} {lie.snacks} on a {color} plate. [they were for the guests|"These are for later," {~by_g}]. {a}
  took one. [it was so good|nobody saw], and {a.he} took another. soon {few} were gone, and only {left} were left on
  the plate.

lie.snacks: cookies | plum tarts | honey cakes | buns | cherries | pears | pancakes | sugar plums

lie.object: jug | vase | lamp | bowl | teapot | clock | plate with flowers on it

lie.told
- when {g} asked, {a} heard {a.his} own voice say, "[I was not even here|I was outside]." it was [a small lie|only a
  few words]. "Then it must have been {b.name}," {~by_g}. {a} could have said no. {a.he} [said nothing|only looked at
  the floor].
- "[What happened here|Who did this]?" {~ask_g}. {~think_a}. "[It was {b.name}|I saw {b.name} there]," {~by_a}. {a.he}
  did not look up.
- {g} came in and [looked around|frowned]. "[Do you know anything about this|Was that you]?" {~ask_g}. "[No|Not me],"
  {~answer_a}. "[It was {b.name}|I think it was {b.name}]." [the words were out before {a.he} could stop them|it was
  so easy to say].

lie.cost
- {b} got no {~treat} and had to clean [the stairs|all the pots|{many} windows]. "[I never did it|Why will nobody
  believe me]!" {~exclaim_b}. {a} [heard it through the wall|saw it all]. every word of it hurt.
- so {g} called {b}. "[But I did not do it|It was not me]," {~by_b}. nobody believed {b.him}. {b} had to stay home
  while the others went to the {place}. {a} [went along, but the games were no fun|could not eat a bite].
- {b} was [sent home|in trouble]. {b.he} looked at {a}, and {a} looked away. that night {a} [could not sleep|turned
  from side to side]. the lie sat [on {a.his} chest|in {a.his} stomach] like [a stone|a cold potato].

lie.truth
- then {a} saw {b} [crying {seat}|all alone]. that was too much. {dare@trait} {a.he} took {g} by the {hand}. "[I said
  something that is not true|I let you think it was {b.name}]," {~by_a}. "It was me, only me."
- {dare@trait} {a} went to {g}. "It was not {b.name}," {~by_a}. "It was me. {^~sorry}." [{a.his} voice shook|it was
  very quiet in the room].
- {~lie.when}, {a} came to {g}. "I have to tell you something," {~by_a}. "I did it, and [then I lied|I said it was
  {b.name}]." {g} [put down {g.his} cup|was silent for a moment].

lie.when: the next morning | at breakfast | before the sun was up

lie.end
- {g} [nodded slowly|did not shout]. "[A lie is like a stone in the shoe|One lie needs ten more]," {~by_g}. "You have
  taken it out. Now go to {b.name}." {a} went. {a} did {b}'s work for {few} days, and [on the last day {b} helped.|then
  {b} said, "That is enough."]
- "[Things can be made again|I am not sad about the things]," {~by_g}. "[Trust is harder to glue|It was the lie that
  hurt]. But you told me now, and that was brave." then {a} went to {b} and said, "{^~sorry}." it took {few} days
  until {b} [laughed with {a.him} again|played with {a.him} again].
- "What about {b.name}?" {~ask_g}. {a} knew. {a.he} [ran to {b}|went over to {b}] and told {b.him} everything. {b} was
  [angry|hurt], and that was fair. "[Do not do that again|You can carry my bag for a week]," {~by_b}. [the truth is
  small at first|telling it was hard], but {a} slept well that night.

plot.race
- {~opening} // {~race.ready} // {~race.run} // {way@hint} [{~race.stop} // {~race.gift}|{~race.slip} //
  {~race.sad}|{~race.stop} // {~race.sad}] {~ending}
- {~race.ready} {~opening.short} // {way@hint} {~race.run} [{~race.stop} // {~race.gift}|{~race.slip} //
  {~race.sad}|{~race.stop} // {~race.sad}] {~ending}

race.ready
- "[Who is the fastest|Who wants to race]?" {~ask_c}. {many} {all} [ran up|put up a {hand}]. the prize, a {color}
  {thing}, came from {b}, and the way was long. {a} [stretched {a.his} legs|looked at the others].
- on {weekday} there was a race {at}. the first prize was a {color} {thing}. {many} {all} [stood in a row|were there].
  {a} looked at {c}, who [was very fast|had won last year].
- "I bet I can get to the {race.goal} first," {~by_c}. "[You cannot|We will see]," {~by_a}. {b} drew a line across
  the path. "The winner gets my {color} {thing}," {~by_b}.

race.goal: big oak | old mill | bridge | red gate | white rock

race.run
- at first {a} was far behind. [the ground flew by|{a.his} sides hurt|the wind was in {a.his} face]. {a}
  passed [one after another|the slow ones, and then the fast ones]. only {c} and {b} were ahead.
- {start@trait} "Ready, set, go!" {c} was first, {a} was [second|close behind]. [at the corner {a} was faster|{a} ran
  until {a.his} sides hurt]. now they were side by side.
- "One, two, three, go!" [legs flew|dust flew|everybody shouted]. {a} began too fast and [soon was out of breath|lost
  a shoe]. "[Keep going|Not so fast]!" & called {b}. then {a} found the right step, and [passed one after
  another|there were only two ahead].

race.stop
- all at once {c} [tripped over a root|slipped and fell]. "Ow!" {a} could see the end of the race. it was [so
  near|only {many} steps away]. {~think_a.fast} then {a.he} [stopped|turned back] and [helped {c.him} up|held out a
  {hand}]. together they [walked|limped] on. {b} passed them both and won.

race.slip
- just before the end, {a} [looked back to see who was behind|waved to the crowd]. that was a mistake. {a.he} fell
  flat on the {ground}, and {c} ran by, and {b}, and everyone else. {a} got up, [dirty from nose to toes|with a sore
  knee], and ran to the end [all the same|even so]. {a.he} was last.

think_a.fast
- for one moment {a.he} wanted to run on.
- {a} thought of the {color} {thing}.

race.gift
- {b} got the {color} {thing}. but {b} [held it up|shook {b.his} head] and said, "[I think {a.name} should have it|The
  best of us was {a.name}]." everybody clapped. "[We can keep it together|Let {c.name} hold it first]," {~by_a}, and
  {glad.all}.

race.sad
- "Are you sad?" {~ask_g}. {~think_a}. "[A little|Not really]," {~by_a}. "[I ran my best|I finished, and that
  counts]." "[That is the best kind of winning|I was proud when you got up]," {~by_g}, and gave {a.him} {~treat}.

glad.all: everyone was happy | that was that | so they did

plot.garden
- {~opening} // {~garden.plant} // {~garden.wait} // {~garden.trouble} // [|{~interlude} ]{way@hint} {~garden.crop} //
  {~garden.end} {~ending}
- {~garden.plant} {~opening.short} // [|{~interlude} ]{way@hint} {~garden.wait} // {~garden.trouble} {~garden.crop}
  {~garden.end} {~ending}

garden.plant
- "What are these?" {~ask_a}. "{^seeds}," {~by_g}, "{many} of them. [They look like nothing|They are asleep]." {a} and
  {b} made a bed [by the south wall|under the window], and gave each one [a little hill|a hole as deep as a thumb].
  {b} wrote the date on a {color2} stick.
- {g} gave {a} {many} {seeds} in a {color} bag. "[Put them in the earth and wait|They need water, sun and time],"
  {~by_g}. {a} dug {many} little holes [behind the house|by the wall|near the gate] and put one in each.
- in spring, {a} and {b} planted {many} {seeds}. {a} dug, and {b} carried water in a {color} can. they put a stick
  with a {color2} ribbon [at each end|in the middle], so as to find the place again.

garden.wait
- every morning {a} [ran out in bare feet|lay down with one ear on the ground]. [nothing|only earth]. {few} weeks went
  by like that. {start@trait} and then there was a [green dot|small green hook]. by {~weekday} there were {sprout}.
- on the first day, nothing happened. on the second day, nothing happened. {start@trait} {^a} watered the bed [every
  day|each {~time}]. after {many} days, there was a bit of green. then there were {sprout}! "{^~cheer}!" {~exclaim_a}.
- "[When will they come up|Is it broken]?" {~ask_a}. "[Seeds cannot tell time|They are busy under there],"
  {~answer_g}. a week went by, and another. and then, after the rain, {sprout} [stood in a row|looked out of the
  earth].

garden.trouble
- one night there was [hail|a cold wind]. in the morning {few} of the plants [lay flat|were broken]. {~sad_a}. but
  {left} still stood. {a} and {b} [tied them to sticks|covered them with an old sheet], and they [grew all the
  same|stood up again by and by].
- but one {~time}, {few} plants were [gone|eaten|bent]. "{^~oh}," {~by_b}. it was {garden.thief}! {a} was angry.
  {~think_a}. then {a.he} [built a small fence from sticks|put old leaves around the rest|planted some greens by the
  hedge, just for the guest]. {^left} were left, and those were safe.
- in {~month} it [did not rain for weeks|was dry and hot]. the leaves hung down. {a} wanted to play {~game}, but
  [first there was water to carry|the plants were thirsty]. {few} cans in the morning, {few} at night. {b}
  [helped|complained, but helped].

month: June | July

garden.thief: a rabbit | a fat snail | a young deer | the neighbor's goat | a family of slugs

garden.crop
- {a} had [almost stopped counting the days|forgotten about waiting] when {g} called from the garden. {crop}! so many
  {crop} that [the neighbors got some too|{b} had to bring a second basket]. there was {use}.
- by the end of summer, there were {crop}, [more than they could carry|big and bright]. {a} gave {few} to {c}, and {g}
  made {use}.
- then came the day: {crop}! {a} and {b} carried them in by the basket. from [one small bag|a handful], they got
  {use}.

garden.end
- "[You cannot pull a plant to make it grow|It all was in the little bag]," {~by_g}. {a} kept {few} seeds in the
  {color} bag, [for next year|{garden.keep}].
- "[All that from {many} seeds|All this out of one small bag]," {~by_a}. "[And a whole summer|And a lot of water],"
  {~by_b}, and it [tasted better for it|was worth it].

garden.keep: because now {a.he} knew how to wait | and put the bag in a drawer until spring

plot.newcomer
- {~opening} // {~new.comes} // {~new.alone} // [|{~interlude} ]{way@hint} {~new.bridge} // {~new.end} {~ending}
- {~new.comes} {~opening.short} // [|{~interlude} ]{way@hint} {~new.alone} {~new.bridge} // {~new.end} {~ending}

new.comes
- on {weekday}, {c} came to the class. {c.he} was from [a village by the sea|another country|a town far away] and wore
  a {color} {new.wear}. {c} [said nothing|looked at nobody].
- there was a new family [in the old house|across the street]. {a} saw {c} in a {color} {new.wear}, with a {color2}
  {thing}, [sitting on a box|looking at the ground].

new.wear: hat | coat | sweater | scarf | cap

new.alone
- {c} ate alone, played alone and went home alone. "[Maybe {c.he} wants to be alone|{^c.he} never asks us]," {~by_b}.
  {a} watched. {c} [looked over to them|smiled at nobody]. [that was not how somebody looks who wants to be alone|no,
  {a} thought, I know that face].
- at lunch {c} sat {seat} alone. "[Why does {c.he} look so odd|Why does {c.he} not talk]?" {~ask_b}. {~think_a}. {a}
  remembered {a.his} own first day, when {new.memory}.
- nobody asked {c} to play {~game}. {b} [laughed at the {color} {new.wear}|looked away]. {a} laughed too, a little,
  and then {a.he} [saw {c}'s face|felt bad about it].

new.memory: nobody knew {a.his} name | {a.he} had sat alone | everything had been too big and too loud

new.bridge
- one {~time} {c} dropped {c.his} {color} {new.wear} in the mud. [some laughed|nobody moved]. {dare@trait} {a} picked
  it up and [brushed it clean|shook it]. "Here," {~by_a}. "[We are playing {~game}|There is {~treat}]. Do you want to
  come?" {c} [nodded, very fast|looked as if the sun had come out].
- {dare@trait} {a} went over and sat down. {a.he} did not know what to say. so {a.he} [put {~treat} between them|drew
  a face on the {ground}|made a paper boat]. {c} looked at it. then {c} [smiled|took half|drew a second face]. "My
  name is {c.name}," {~by_c}.
- then a {thing2} rolled to {c}'s feet. {c} picked it up and [did a trick with it|threw it back in a high arc|spun it
  on one finger]. everyone [stopped|stared]. "[How did you do that|Show me]!" {~exclaim_a}.

new.end
- soon {c} could [say all their names|tell jokes], and they could [say hello in {c.his} language|play the games of
  {c.his} village]. even {b} [came over|said sorry about the {new.wear}]. "[I was afraid of you all|On my first day I
  wanted to go home]," {~by_c}. "And I was afraid of you," {~by_a}, and [they laughed|that was funny now].
- a week later, {a}, {b} and {c} sat {seat} together. "[Do you still want to go back|Do you miss your old home]?"
  {~ask_b}. "[Sometimes|Less now]," {~answer_c}. [one hello is enough to begin with|somebody has to say hello first],
  thought {a}.

plot.treasure
- {~opening} // {~treasure.map} // {~treasure.one} // [|{~interlude} ]{way@hint} {~treasure.two} // {~treasure.chest}
  {~ending}
- {~treasure.map} {~opening.short} // {~treasure.one} // [|{~interlude} ]{way@hint} {~treasure.two} //
  {~treasure.chest} {~ending}

treasure.map
- "[Dear {a.name}|Dear finder]," said a letter in {color} ink, "look {spot}. [Bring a friend|Do not go alone]." it
  [lay under {a.his} plate|had come in at the window]. {a} ran to fetch {b}.
- in an old [book|coat|drawer], {a} found a piece of {color} paper. "[Begin|Look] {spot}," it said, "and do not be
  late." "[Is it a treasure|Who wrote that]?" {~ask_b}.
- {g} gave {a} and {b} a {color} note. [{g} winked|{g} looked very serious]. "Go to the {place} and look {spot}," it
  said. "[There is more to find|Be brave and be clever]."

treasure.one
- {start@trait} {^spot}, under [a stone|some leaves|a tin], lay a second note. "Take {many} steps toward the sun, and
  then look {spot2}." {b} counted out loud: [one, two, three|one, two], and so on up to {many}.
- they looked {spot} and found a {color2} [key|button|shell], with a note tied to it. it said: "Keep this. You will
  need it. Now look {spot2}." {a} put it [in {a.his} pocket|in {a.his} left shoe].

treasure.two
- then it became hard. {^spot2} there was only a picture: [a fish and a star|a foot and a bell|a moon and a chair].
  {b} turned it [upside down|this way and that]. "[Hold it up to the light|Maybe it is a trick]," {~by_a}. and with
  the light behind it they could read: look {spot3}.
- {^spot2} they found nothing at first. {b} wanted to [give up|go home]. {~think_a}. "[Maybe we took too big steps|Let
  us read it again]," {~by_a}. and then {b} saw it, [scratched into the wood|under the {ground}]: an arrow. it pointed
  to a place {spot3}.
- {^spot2} there was a riddle. "{riddle}" {b} had no idea. {a} [read it twice|said it out loud]. "{answer}!"
  {~exclaim_a}. on the back it said: "If you know the answer, look {spot3}."

treasure.chest
- and there, {spot3}, was a {color3} box! inside were {many} {items}, [one small letter|a letter] and {~treat}. "The
  best treasure," the letter said, "is [the one who looked with you|a day like this]." it was signed: {g.name}. {a}
  and {b} [looked at each other|laughed] and shared: {few} for one, {left} for the other.
- and whom did they find there? {^g}, on a {color3} blanket, with a picnic. "[You took your time|You found me],"
  {~by_g}. "[We counted wrong|There was a hard part]," {~by_a}. "[Nobody would have found it alone|We needed two
  heads]," {~by_b}.

plot.fog
- {~opening} // {~fog.lost} // {~fog.think} // {way@hint} {~fog.way} // {~fog.home} {~ending}
- {~fog.lost} {~opening.short} // {way@hint} {~fog.think} {~fog.way} // {~fog.home} {~ending}

fog.lost
- "[I know a short way|We do not need the path]," {~by_a}. {few} turns later there was no path at all, [only fog|only
  trees], and {b} said, "[We were here before|I know that stump]."
- {a} and {b} had been {at} all {~time}. on the way back a thick fog came [up from the ground|down the valley]. soon
  they could not see [the path|ten steps ahead]. "[Which way is home|Have we been here before]?" {~ask_b}.
- {a} had followed a {color} {fog.lure} off the path, and {b} had followed {a}. now it was [getting dark|foggy], and
  [every tree looked the same|nothing looked right]. "{^~oh}," {~by_b}. "We are lost."

fog.lure: butterfly | bird | leaf | beetle | feather in the wind

fog.think
- {b} [began to cry|wanted to run]. "[If we run, we get more lost|Let us stop and think]," {~by_a}. {~think_a}. "[What
  did we pass|What do you remember]?" {b} [wiped {b.his} eyes|thought]. "[First something {spot}|Something {color2}],
  then the [bridge|well|split oak], then the [red|green|white] gate."
- "{^g} says: [when you are lost, stay calm|listen before you walk]," {~by_a}. they [stood still|held their breath]
  and listened. far away, they heard [a bell|a brook|a rooster|the mill]. "That is near home!" {start@trait}

fog.way
- "Call!" {~exclaim_a}. they called, {few} times. {few} times there was nothing. then [a dog barked|somebody rang a
  bell]. they went toward it, {hand} in {hand}, [over a ditch|through wet grass], and stopped every {many} steps to
  listen.
- they walked {~slow}, {hand} in {hand}. there was [the split oak|the bridge|the well]! "[That is right|One more],"
  {~by_b}. {a} tied {few} bits of {color2} thread to the bushes, so as not to walk in a circle.
- once they went wrong and came to [a wall|a ditch]. back they went, {many} steps. then {b} pointed. "Look, [our own
  footprints|a light]!"

fog.home
- and then there was a light. {g} stood at the door with a {color3} lamp. "[There you are|I was just going to look for
  you]!" {~exclaim_g}. inside there was {~treat} and [a warm blanket|dry socks]. "[How did you find the way|Were you
  afraid]?" {~ask_g}. "[We remembered together|I had half of it in my head, and {b.name} had the other half],"
  {~answer_a}.
- "{^~cheer}!" {~exclaim_b}, for there was the gate. the next day they walked the same path in the sun, and [it was so
  short|it was so easy]. {a} [untied the thread again|laughed]. "[Fog makes everything big|The path was there all the
  time]," {~by_a}.

plot.kitchen
- {~opening} // {~kitchen.plan} // {way@hint} {~kitchen.cook} // {~kitchen.taste} // {~kitchen.end} {~ending}
- {~kitchen.plan} {~opening.short} {~kitchen.cook} // {way@hint} {~kitchen.taste} {~kitchen.end} {~ending}

kitchen.plan
- "I am hungry," {~by_b}. "[I too|So am I]," {~by_a}. {g} was [asleep|out in the garden]. "We could make {dish}, all
  by ourselves."
- {g} was [tired|coming home late]. "[Let us make something nice|We will cook today]," {~by_a}. "I know how to make
  {dish}." "[Do you|Without a book]?" {~ask_b}.
- it was {weekday}, and guests were coming: {many} of them. "We need {dish}," {~by_g}. "[We can make it|Let us do
  it]," said {a} and {b}, [both at once|almost together].

kitchen.cook
- "[A pinch of this|A cup of that]," {~by_a}, like a real cook. {b} [washed|stirred|chopped] and asked {many}
  questions. {a} answered them all and reached for the {color} jar without looking. and that is how it came to
  {wrong}.
- {start@trait} {b} read the words aloud, [but one page was missing|but the spots on the page were many]. {a} stirred
  in the {color} bowl. soon there was flour [on the cat|on the lamp|in {b.his} ears]. and somehow {a} took {wrong}.
- they put on [two big aprons|two {color} aprons]. {many} eggs went in, [and {few} fell on the floor|and a bit of
  shell]. {a} was [talking|singing] and did not look, and so {a.he} used {wrong}. nobody noticed.

kitchen.taste
- {^~later}, it was done. it {result}. {b} [made a face|coughed]. "[What did you put in|Is it meant to be like that]?"
  {~ask_b}. {a} [looked at the jars|smelled the spoon] and [went red|understood]. "{^~oh}. [I took the wrong thing|I
  made a mistake]."
- "Dinner!" & called {a}. {g} [took a bite|looked at it]. {g} stopped. it {result}. nobody said [anything|a word].
  "[Is it so bad|Do you not like it]?" {~ask_a}. {~sad_a}.

kitchen.end
- then {g} began to laugh. "[I once did the very same thing|This is the funniest {kitchen.meal} of my life]," {~by_g}.
  "We will call it {new.name}." they had {~treat} instead, and {new.name} was [what they talked about for years|never
  made again].
- "[We still have time|Let us try again]," {~by_b}. this time {a} [tasted first|read each word twice], and {b} [held
  the spoon|checked]. the second try was [good|very good]. and the first? "That was {new.name}," {~by_a}, and [they
  laughed so hard that it hurt|even {g} had to laugh].

kitchen.meal: dinner | supper | meal

plot.saving
- {~opening} // {~saving.see} // {~saving.earn} // [|{~interlude} ]{way@hint} {~saving.turn} // {~saving.end}
  {~ending}
- {~saving.see} {~opening.short} // [|{~interlude} ]{way@hint} {~saving.earn} {~saving.turn} // {~saving.end}
  {~ending}

saving.see
- "How much is the {color} {thing}?" {~ask_a}. "{^total} coins," said the man in the shop. {a} put all {a.he} had on
  the table: {many}. "[Come back when you have {few} more|I can keep it for you until {weekday}]," said the man.
- in the window of the shop was a {color} {thing}. it cost {total} coins. {a} had {many}. "[That is not enough|You
  need {few} more]," {~by_b}. [{a} counted again, but it was still {many}|{few} more, that was a lot].
- {a} [pressed {a.his} nose to the window|stood in front of the shop every day]. there it was, the {color} {thing}.
  {total} coins! in {a.his} jar at home there were only {many}. "How can I get {few} more?" {~ask_a}.

saving.earn
- {few} coins. how does one get {few} coins? {start@trait} {a} [held ladders|carried bags|walked dogs|weeded gardens]
  all week. one coin came from {g}, and [the rest|others] from people in the street. {b} kept count: {total}, at last.
- {start@trait} {a} [carried wood|swept the path|washed cups] for {g}, and got one coin. {a.he} [fed the hens|cleaned
  the windows|sold lemonade], and got another. it took [a week|ten days], but then the jar was full: {total}.
- "I can give you a coin for each {saving.job}," {~by_g}. {a} worked [until {a.his} {hands} hurt|every {~time}]. {b}
  [helped|went to play without {a.him}]. at last there were {total} coins in the jar.

saving.job: clean window | basket of wood | bucket of weeds | polished shoe

saving.turn
- on the way to the shop, {a} met {c}, who [was crying|sat on the steps]. "[I lost the money for the bread|I broke our
  milk jug]," {~by_c}. "{^few} coins!" {~think_a}. {a} took {few} coins from the jar. "[Here|Take this]," {~by_a}. now
  there were {many} left.
- at the shop, the window was [empty|dark]. the {thing} was [gone|sold]! {~sad_a}. "[I was too slow|All that work for
  nothing]," {~by_a}. {b} [put an arm around {a.him}|looked for something to say].

saving.end
- a few days later there was a box at the door. in it lay the {color} {thing}! "[For a good worker|For {a.name}],"
  said the note. {a} looked at {g}. {g} [looked at the sky|whistled]. {a} took {few} coins out of the jar and bought
  {~treat} for everyone.
- {a} thought about it for {few} days, and saved again. in the end, {a.he} bought two small {small.things}, one for
  {a.himself} and one for {b}. [what you work for, you know the price of|money comes and goes], {g} said, but [a good
  heart stays|a friend stays].

small.things: kites | whistles | balls | bells | drums | cups

plot.neighbor
- {~opening} // {~near.meet} // {~near.help} // [|{~interlude} ]{way@hint} {~near.back} // {~near.end} {~ending}
- {~near.meet} {~opening.short} // [|{~interlude} ]{way@hint} {~near.help} // {~near.back} {~near.end} {~ending}

near.meet
- {a}'s ball had gone over the wall, into the garden of {old}. "[Nobody has ever come back from there|{^old} keeps
  every ball]," {~by_b}. {a} looked over the wall. there stood {old}, with {near.trouble}.
- at the end of the path lived an old [{old.kind}|{old.kind}] named {old}. everybody said that {old} was
  [grumpy|mean|a bit strange]. {old} never [smiled|said good morning]. one {~time}, {a} saw {old} {at}, with
  {near.trouble}.
- "Do not go near {old}," {~by_b}. "{^old} [eats children's toys|shouts]." but that {~time} {a} saw the old neighbor
  {at}, all alone, with {near.trouble}.

old.kind: neighbor

old: Mr. Crane | Mrs. Frost | Mr. Plum | Mrs. Holt | Mr. Stone | Mrs. Birch | Mr. Nettle | Mrs. Quill | Mr. Gale |
Mrs. Pike | Mr. Finch | Mrs. Gray | Mr. Marsh | Mrs. Thorn | Mr. Flint | Mrs. Moss | Mr. Bell | Mrs. Reed

near.trouble: a basket that was too heavy | {many} {items} all over the {ground} | a broken stick | a hat up in a tree
| a door that would not open

near.help
- {old} did not see {a} at first. {dare@trait} "[Good day|Excuse me]," {~by_a}. "[Shall I hold that|May I do that for
  you]?" it was quiet. then: "[Well, do not just stand there|You may]," said {old}. when it was done, {old} [looked at
  {a.him} for a long time|brought out {~treat}].
- {dare@trait} "[Can I help|Shall I help you]?" {~ask_a}. {old} [looked surprised|grunted]. "[Nobody has asked me that
  in {many} years|If you like]." so {a} helped. it took [a while|no time at all]. "{^~thanks}," said {old}, [in a
  rusty voice|and almost smiled].
- "[Let us go|Come away]," {~by_b}. {~think_a}. "[Look, nobody is helping|It is only a neighbor in need]," {~by_a},
  and {a.he} went. {b} came too, {few} steps behind. they [picked everything up|got it done] in no time. {old} gave
  them {~treat}.

near.back
- {few} days later, {a} {near.need}. who came? {old}! "[One good turn for another|You helped me, now it is my turn],"
  said {old}, and [fixed it|put everything right] with {near.tool}.
- from then on {a} visited {old} every {weekday}. {old} [told stories about ships|taught {a.him} to play
  checkers|showed {a.him} {many} {items} from far away]. {old} was not [grumpy|mean] at all, [only lonely|just a bit
  deaf]. "[Why did you never smile|Why do people say you are grumpy]?" {~ask_a}. "[Nobody looked|I had no reason to
  smile]," said {old}.

near.need: broke {a.his} {color} {thing} | fell and hurt {a.his} foot near the gate | was locked out in the cold |
lost {a.his} {color} {thing}

near.tool: an old hammer | {color2} thread | a bit of wire and much care | two strong hands

near.end
- "What is {old} really like?" {~ask_b}. [{~like.nut}|{~like.stove}] {b} [wanted to come along next time|thought about
  that].
- "And I was afraid of {old.of}," {~by_b}. [you cannot know a house from the outside|people are like nuts], {a}
  thought, [and you cannot know people that way|you have to get past the shell].
- when the others said that {old} was [grumpy|mean], {a} shook {a.his} head. "[You never asked|You just have to say
  hello]," {~by_a}.

old.of: our own neighbor

plot.show
- {~opening} // {~show.plan} // {~show.practice} // [|{~interlude} ]{way@hint} {~show.wrong} // {~show.end} {~ending}
- {~show.plan} {~opening.short} // [|{~interlude} ]{way@hint} {~show.practice} // {~show.wrong} {~show.end} {~ending}

show.plan
- {g} had an old trunk full of [coats|hats|masks]. "[That is enough for a play|We need a stage]," {~by_a}. {c} [pulled
  out|took] a beard and was {role2}. {b} found a stick and was {role}. for {a} there was only a sheet, so {a} became
  {role3}.
- "[Let us put on a show|We will make a play]!" {~exclaim_b}. "On {weekday}, {at}." {b} would be {role}, {c} would be
  {role2}. "And {a.name}?" {~ask_c}. "I would [like to be|be] {role3}," {~answer_a}.
- the {all} made a play about {~storytopic}. {c} got to be {role2}, {b} was {role}, and {a} had to be {role3}. [it was
  only a small part|{a} had just {few} words to say].

role: the cook | the thief | the sun | the old frog | the sailor | the witch | the mouse | the knight | the river |
the ghost | the goose | the king | the giant | the queen | the dragon | the moon | the captain | the wolf | the wizard
| the tree | the cloud | the bear | the wind | the baker

show.practice
- {start@trait} they practiced {nook}. {a} said {a.his} words to [the mirror|the wall|a beetle]: "{~show.line}" {b}
  made a {color} [coat|cape|hat] out of an old curtain.
- {a} had one important line. "{~show.line}" {a.he} said it in the bath, [in bed|on the stairs] and [in {a.his}
  sleep|at the table]. {g} sewed a {color} [coat|cape|hat] for {a.him}.

show.line
- The night is long, but morning comes!
- I have come from far away, and I bring good news!
- Stop, or I will blow you all away!
- Who has eaten my golden soup?
- Nobody passes here without a song!

show.wrong
- on {weekday}, {total} chairs were full. the curtain opened, [half of it|with a jerk], and {~sound}! the {color} lamp
  went out. it was dark. {b} [grabbed {a.his} {hand}.|whispered, "What now?"] {~think_a}.
- then came {weekday}. [there were {total} guests|all the {group} came]. {a} looked out, and [{a.his} head was
  empty|every word was gone]. it was quiet. somebody coughed. {b} [whispered the first word|nodded to {a.him}].
- everything went well until {c} {show.fall}. {^~sound}! [people gasped|somebody laughed]. {c} [froze|looked as if
  {c.he} wanted to cry]. nobody knew what to do. {~think_a}.

show.fall: forgot what to say | fell over the curtain | lost one boot on the stage | pulled down the painted sky

show.end
- {a} [closed {a.his} eyes|breathed in] and then [sang it|made up new words|said it, loud and clear]. the
  [guests|{group}] laughed in the right places and clapped [for a long time|until the lamp shook]. "That was not in
  the play," {~by_c}. "[It is now|It just came to me]," {~by_a}.
- {a} [took {c.name}'s {hand}|stepped out] and said, "{^role2} is tired today. We will all help!" and [the play went
  on|it was even funnier]. afterward {g} said, "I liked {role3} best." {~glad_a}. a small part can be big [when it is
  needed|if you do it well].

plot.mystery
- {~opening} // {~mystery.odd} // <{~mystery.clue};{~mystery.ask}> // {~mystery.watch} // {~mystery.end} {~ending}
- {~mystery.odd} {~opening.short} // {~mystery.clue} {~mystery.ask} // {~mystery.watch} {~mystery.end} {~ending}

mystery.odd
- every {~time} one of {g.name}'s {mystery.things} was missing. on Monday there were {one_more}. on Tuesday there were
  {many}. on Wednesday, {one_less}. "[Who can it be|Who takes them]?" {~ask_g}.
- "My {mystery.things} are going away," {~by_g}. "[There were {one_more} yesterday and now there are only
  {many}|Yesterday {one_more}, today {many}]." "[I will find out|That is a case for me]," {~by_a}.

mystery.things: socks | rolls | spoons | eggs | gloves | clothespins | sausages

mystery.clue
- {a} looked for clues. on the floor was [a bit of {fur} hair|a print in the dust|a trail of crumbs]. it went [out of
  the door|under the fence]. {a} wrote it down.
- {start@trait} {b} found [a {color} thread|one wet footprint|a scratch] {spot}. "[A clue|That is not from a person],"
  {~by_b}.

mystery.ask
- they asked {c}. "[I did not take them|It was not me]," {~by_c}. "[But I heard a {~sound} last night|I saw something
  {fur} run by]." {~think_a}. {c} was not the thief. one must not [blame people without proof|say such things before
  one knows].
- "Maybe it was {c.name}," {~by_b}. "[We do not know that|Only if we can prove it]," {~by_a}. and it was good that
  they waited.

mystery.watch
- "We set a trap," {~by_a}. they put flour on the floor around the {mystery.things}. in the morning there were prints
  in it, [small and round|four toes each]. {b} followed them on {b.his} knees to a place {spot2}.
- that night they hid [behind a curtain|under the table|behind the door] with a lamp and {~treat}. they waited. {b}
  [fell asleep|yawned]. then: {~sound}! something {fur} came in {~slow}. {a} turned on the lamp.
- {a} tied a thin {color2} thread to [the last one|one of the {mystery.things}]. in the morning they followed the
  thread, past the gate, around the corner, and up to a place {spot2}.

mystery.end
- it was {mystery.thief}! it had made a bed of {mystery.things}, and in the bed lay {few} little ones. "[So that is
  why|What a clever mother]," {~by_g}. "Let it keep them." and {a} [brought an old blanket|brought a bowl of water]
  too. "Case closed," {~by_b}.
- there sat {mystery.thief}, on top of all the {mystery.things}, and [looked at them without shame|was fast asleep].
  everyone [laughed|was quiet]. "[And I almost blamed {c.name}|How good that we looked first]," {~by_b}.

mystery.thief: a stray cat | the {fur} dog from the mill | a mother raccoon | a fat magpie | a young fox
"""
