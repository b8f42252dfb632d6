//! The words of the three worlds. All brands, sources and authors are invented.

/// A category: its name, its tags, and what its titles are about.
pub(crate) struct Category {
    pub(crate) name: &'static str,
    pub(crate) tags: [&'static str; TAGS],
    pub(crate) things: [&'static str; 6],
}

/// Tags of a category.
pub(crate) const TAGS: usize = 8;
/// Categories of a world.
pub(crate) const CATEGORIES: usize = 12;

const fn category(name: &'static str, tags: [&'static str; TAGS], things: [&'static str; 6]) -> Category {
    Category { name, tags, things }
}

/// Where users live and news happens.
pub(crate) const CITIES: [&str; 12] = [
    "Lisbon", "Osaka", "Nairobi", "Montreal", "Jakarta", "Oslo", "Lima", "Beijing", "Chicago", "Berlin", "Mumbai",
    "Auckland",
];

pub(crate) const DEVICES: [&str; 4] = ["mobile", "mobile", "desktop", "tablet"];

pub(crate) const FIRST_NAMES: [&str; 16] = [
    "Ada", "Bruno", "Chen", "Dalia", "Emil", "Farah", "Goro", "Hana", "Ivo", "Jaya", "Kofi", "Lena", "Mateo", "Noor",
    "Olga", "Pablo",
];

pub(crate) const LAST_NAMES: [&str; 16] = [
    "Abe",
    "Berg",
    "Costa",
    "Dube",
    "Engel",
    "Flores",
    "Garcia",
    "Haas",
    "Ito",
    "Jansen",
    "Khan",
    "Lindqvist",
    "Moreau",
    "Novak",
    "Okafor",
    "Silva",
];

pub(crate) const LANGUAGES: [&str; 5] = ["en", "en", "es", "pt", "ja"];

pub(crate) const SOURCES: [&str; 8] = [
    "Morning Ledger",
    "Harbour Post",
    "Metro Wire",
    "Civic Journal",
    "Northern Dispatch",
    "Evening Beacon",
    "Open Courier",
    "River Gazette",
];

pub(crate) const BRANDS: [&str; 16] = [
    "Halden",
    "Brookmere",
    "Lumova",
    "Tarnside",
    "Oaklyn",
    "Solvei",
    "Kestrina",
    "Marlowe & Finch",
    "Fennick",
    "Asterly",
    "Cobaltine",
    "Junipero",
    "Pellworth",
    "Quillon",
    "Ravenna Goods",
    "Thistledown",
];

/// How a title of a short video goes on.
pub(crate) const VIDEO_ENDINGS: [&str; 12] = [
    "in sixty seconds",
    "that nobody expected",
    "explained simply",
    "for complete beginners",
    "behind the scenes",
    "at three in the morning",
    "on a tiny budget",
    "with my grandmother",
    "gone slightly wrong",
    "from start to finish",
    "nobody talks about",
    "you can copy today",
];

/// How a headline goes on.
pub(crate) const NEWS_ENDINGS: [&str; 12] = [
    "goes to a vote",
    "delayed again",
    "draws criticism",
    "moves ahead",
    "in five charts",
    "under review",
    "faces new questions",
    "beats expectations",
    "returns after a year",
    "divides opinion",
    "enters its final week",
    "what we know so far",
];

pub(crate) const VIDEOS: [Category; CATEGORIES] = [
    category(
        "food",
        ["recipe", "street-food", "baking", "vegan", "noodles", "dessert", "coffee", "barbecue"],
        [
            "Hand-pulled noodles",
            "A one-pan breakfast",
            "Sourdough",
            "The perfect dumpling",
            "Night-market skewers",
            "Pour-over coffee",
        ],
    ),
    category(
        "travel",
        ["backpacking", "train", "island", "city-walk", "camping", "budget-travel", "mountains", "van-life"],
        ["A night train", "Three days on an island", "A city walk", "Life in a van", "A mountain hut", "A desert camp"],
    ),
    category(
        "music",
        ["guitar", "piano", "cover", "live", "beatmaking", "jazz", "karaoke", "choir"],
        [
            "A bedroom beat",
            "One guitar riff",
            "A station piano",
            "A four-part choir",
            "An old jazz standard",
            "A street drummer",
        ],
    ),
    category(
        "gaming",
        ["speedrun", "esports", "indie-game", "retro", "strategy", "walkthrough", "racing", "puzzle"],
        ["A speedrun", "The last boss", "An indie gem", "A retro console", "A perfect lap", "A hidden level"],
    ),
    category(
        "fitness",
        ["running", "yoga", "strength", "mobility", "climbing", "swimming", "cycling", "stretching"],
        [
            "A ten-minute workout",
            "Morning yoga",
            "A first pull-up",
            "A slow long run",
            "A climbing wall",
            "A hill climb",
        ],
    ),
    category(
        "pets",
        ["cat", "dog", "parrot", "rescue", "training", "aquarium", "rabbit", "hamster"],
        [
            "A rescued kitten",
            "A stubborn corgi",
            "A talking parrot",
            "A planted aquarium",
            "Two rabbits",
            "A hamster maze",
        ],
    ),
    category(
        "comedy",
        ["sketch", "stand-up", "prank", "parody", "office", "family", "improv", "dubbing"],
        [
            "An office sketch",
            "A family dinner",
            "A harmless prank",
            "A film parody",
            "An open-mic night",
            "A group chat",
        ],
    ),
    category(
        "beauty",
        ["makeup", "skincare", "hair", "nails", "thrift", "outfit", "perfume", "tutorial"],
        [
            "A five-minute look",
            "A skincare shelf",
            "A home haircut",
            "Press-on nails",
            "A thrifted outfit",
            "A signature scent",
        ],
    ),
    category(
        "technology",
        ["gadget", "coding", "robotics", "smartphone", "keyboard", "3d-printing", "photography", "home-automation"],
        [
            "A pocket gadget",
            "A first program",
            "A walking robot",
            "A quiet keyboard",
            "A printed lamp",
            "A camera trick",
        ],
    ),
    category(
        "sports",
        [
            "football",
            "basketball",
            "skateboarding",
            "surfing",
            "tennis",
            "table-tennis",
            "snowboarding",
            "martial-arts",
        ],
        [
            "A last-minute goal",
            "A half-court shot",
            "A first kickflip",
            "A dawn surf",
            "A long rally",
            "A fresh-snow run",
        ],
    ),
    category(
        "diy",
        ["woodworking", "knitting", "pottery", "repair", "garden", "upcycling", "painting", "leather"],
        ["A walnut stool", "A chunky scarf", "A thrown bowl", "A broken radio", "A balcony garden", "A pallet bench"],
    ),
    category(
        "science",
        ["space", "chemistry", "biology", "physics", "ocean", "maths", "history", "weather"],
        [
            "A rocket launch",
            "A glowing reaction",
            "A drop of pond water",
            "A double pendulum",
            "The deep sea",
            "A sky full of lightning",
        ],
    ),
];

pub(crate) const NEWS: [Category; CATEGORIES] = [
    category(
        "politics",
        ["election", "parliament", "policy", "mayor", "tax", "referendum", "budget", "reform"],
        ["city budget", "housing bill", "ballot reform", "mayor's plan", "tax proposal", "coalition deal"],
    ),
    category(
        "business",
        ["markets", "startups", "jobs", "trade", "banking", "retail", "energy-prices", "inflation"],
        ["port expansion", "startup fund", "rate decision", "export deal", "wage agreement", "retail merger"],
    ),
    category(
        "technology",
        ["artificial-intelligence", "chips", "privacy", "security", "satellites", "open-source", "telecom", "robots"],
        [
            "chip plant",
            "privacy ruling",
            "satellite network",
            "open-source project",
            "delivery robot trial",
            "data centre",
        ],
    ),
    category(
        "sport",
        ["football", "athletics", "tennis", "cycling", "olympics", "basketball", "rugby", "swimming"],
        ["cup final", "marathon route", "stadium project", "title race", "national squad", "cycling tour"],
    ),
    category(
        "health",
        ["hospitals", "nutrition", "vaccines", "mental-health", "sleep", "ageing", "fitness", "research"],
        ["hospital wing", "sleep study", "vaccine campaign", "school lunch plan", "nursing shortage", "clinic network"],
    ),
    category(
        "science",
        ["space", "climate", "physics", "genetics", "oceans", "archaeology", "astronomy", "biology"],
        ["moon mission", "glacier survey", "telescope upgrade", "fossil find", "reef project", "gene study"],
    ),
    category(
        "culture",
        ["film", "books", "museums", "theatre", "music", "design", "festival", "television"],
        ["film festival", "museum reopening", "book prize", "theatre season", "street mural", "concert series"],
    ),
    category(
        "weather",
        ["storm", "heatwave", "flood", "snow", "drought", "forecast", "wildfire", "wind"],
        ["storm warning", "flood barrier", "heat plan", "snow forecast", "water ban", "fire season"],
    ),
    category(
        "transport",
        ["rail", "aviation", "roads", "cycling", "electric-cars", "ferries", "metro", "buses"],
        ["metro line", "night-bus network", "airport terminal", "bridge repair", "cycle lane", "ferry link"],
    ),
    category(
        "education",
        ["schools", "universities", "exams", "teachers", "languages", "funding", "apprenticeships", "childcare"],
        [
            "exam reform",
            "teacher pay deal",
            "university merger",
            "language programme",
            "school roof repair",
            "nursery scheme",
        ],
    ),
    category(
        "environment",
        ["recycling", "wildlife", "forests", "solar", "air-quality", "rivers", "farming", "oceans"],
        ["solar park", "river clean-up", "wolf return", "recycling scheme", "forest fund", "clean-air zone"],
    ),
    category(
        "food",
        ["restaurants", "harvest", "prices", "recipes", "wine", "markets", "fishing", "bakeries"],
        ["wheat harvest", "market hall", "fishing quota", "vineyard season", "bakery strike", "restaurant week"],
    ),
];

pub(crate) const PRODUCTS: [Category; CATEGORIES] = [
    category(
        "electronics",
        ["wireless", "noise-cancelling", "portable", "fast-charging", "bluetooth", "compact", "rechargeable", "4k"],
        ["headphones", "speaker", "power bank", "webcam", "monitor", "keyboard"],
    ),
    category(
        "kitchen",
        ["cast-iron", "stainless", "non-stick", "dishwasher-safe", "ceramic", "insulated", "stackable", "bamboo"],
        ["frying pan", "kettle", "knife set", "lunch box", "chopping board", "coffee mug"],
    ),
    category(
        "outdoor",
        ["waterproof", "lightweight", "windproof", "folding", "breathable", "solar", "thermal", "ultralight"],
        ["hiking jacket", "tent", "sleeping bag", "backpack", "camp stove", "headlamp"],
    ),
    category(
        "fashion",
        ["linen", "organic-cotton", "oversized", "slim-fit", "vintage", "wool", "denim", "striped"],
        ["shirt", "sweater", "trousers", "scarf", "coat", "dress"],
    ),
    category(
        "shoes",
        ["leather", "suede", "canvas", "running", "slip-on", "high-top", "winter", "vegan"],
        ["sneakers", "boots", "sandals", "loafers", "trainers", "slippers"],
    ),
    category(
        "beauty",
        [
            "fragrance-free",
            "moisturising",
            "mineral",
            "matte",
            "travel-size",
            "refillable",
            "natural",
            "sensitive-skin",
        ],
        ["face cream", "lipstick", "shampoo bar", "sunscreen", "hand balm", "serum"],
    ),
    category(
        "home",
        ["oak", "scandinavian", "minimalist", "velvet", "dimmable", "rattan", "blackout", "handwoven"],
        ["table lamp", "bookshelf", "armchair", "curtains", "rug", "side table"],
    ),
    category(
        "toys",
        ["wooden", "educational", "magnetic", "plush", "musical", "glow-in-the-dark", "stacking", "remote-controlled"],
        ["train set", "building blocks", "puzzle", "dinosaur", "race car", "doll house"],
    ),
    category(
        "sports",
        ["carbon", "adjustable", "anti-slip", "aerodynamic", "training", "weighted", "inflatable", "quick-dry"],
        ["yoga mat", "tennis racket", "dumbbell set", "cycling helmet", "swim goggles", "skipping rope"],
    ),
    category(
        "books",
        ["illustrated", "hardcover", "paperback", "pocket", "annotated", "bestselling", "large-print", "signed"],
        ["cookbook", "crime novel", "atlas", "poetry collection", "travel guide", "biography"],
    ),
    category(
        "garden",
        ["self-watering", "hardy", "terracotta", "perennial", "ergonomic", "galvanised", "heirloom", "weatherproof"],
        ["planter", "seed box", "pruning shears", "watering can", "bird feeder", "garden bench"],
    ),
    category(
        "pets",
        [
            "orthopaedic",
            "grain-free",
            "chew-proof",
            "washable",
            "reflective",
            "interactive",
            "hypoallergenic",
            "foldable",
        ],
        ["dog bed", "cat tree", "leash", "feeding bowl", "toy mouse", "carrier"],
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_name_is_given_twice() {
        for world in [&VIDEOS, &NEWS, &PRODUCTS] {
            let names: HashSet<&str> = world.iter().map(|category| category.name).collect();
            assert_eq!(names.len(), CATEGORIES);
            for category in world {
                assert_eq!(category.tags.iter().collect::<HashSet<_>>().len(), TAGS, "{}", category.name);
            }
        }
    }
}
