//! The three kinds of world and the numbers that tell them apart.

use crate::words::{CATEGORIES, Category, NEWS, PRODUCTS, VIDEOS};

/// What a world is about.
///
/// | | `Vlog` | `News` | `Ecommerce` |
/// |---|---|---|---|
/// | published within | 30 days | 3 days | 30 days |
/// | history | 14 days | 2 days | 21 days |
/// | freshness weight *f*, half-life | 0.3, 7 days | 1.2, 12 hours | 0.2, 14 days |
/// | location weight *l* | 0 | 0.8 | 0 |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Short videos.
    Vlog,
    /// News.
    News,
    /// A shop.
    Ecommerce,
}

/// What differs between the worlds; times in milliseconds.
pub(crate) struct Traits {
    pub(crate) published_within_ms: u64,
    pub(crate) history_ms: u64,
    pub(crate) freshness_weight: f64,
    pub(crate) freshness_half_life_ms: f64,
    pub(crate) location_weight: f64,
    pub(crate) categories: &'static [Category; CATEGORIES],
}

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

const VLOG: Traits = Traits {
    published_within_ms: 30 * DAY_MS,
    history_ms: 14 * DAY_MS,
    freshness_weight: 0.3,
    freshness_half_life_ms: 7.0 * DAY_MS as f64,
    location_weight: 0.0,
    categories: &VIDEOS,
};

const PAPER: Traits = Traits {
    published_within_ms: 3 * DAY_MS,
    history_ms: 2 * DAY_MS,
    freshness_weight: 1.2,
    freshness_half_life_ms: 12.0 * HOUR_MS as f64,
    location_weight: 0.8,
    categories: &NEWS,
};

const SHOP: Traits = Traits {
    published_within_ms: 30 * DAY_MS,
    history_ms: 21 * DAY_MS,
    freshness_weight: 0.2,
    freshness_half_life_ms: 14.0 * DAY_MS as f64,
    location_weight: 0.0,
    categories: &PRODUCTS,
};

impl Kind {
    /// All three, in the order in which the demo loads them.
    pub const ALL: [Self; 3] = [Self::Vlog, Self::News, Self::Ecommerce];

    /// `vlog`, `news`, `ecommerce`: the scenario type, and the prefix of item ids.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Vlog => "vlog",
            Self::News => "news",
            Self::Ecommerce => "ecommerce",
        }
    }

    /// The id of the scenario it is shown in.
    #[must_use]
    pub fn scenario_id(self) -> &'static str {
        match self {
            Self::Vlog => "vlog_main_feed",
            Self::News => "news_main_feed",
            Self::Ecommerce => "ecommerce_main_feed",
        }
    }

    /// The scenario as shipped in `runtime-host/config/scenarios`.
    #[must_use]
    pub fn scenario_json(self) -> &'static str {
        match self {
            Self::Vlog => include_str!("../../config/scenarios/vlog.json"),
            Self::News => include_str!("../../config/scenarios/news.json"),
            Self::Ecommerce => include_str!("../../config/scenarios/ecommerce.json"),
        }
    }

    /// The model that the scenario is ranked by: an ONNX file of `models/samples`.
    #[must_use]
    pub fn model(self) -> &'static [u8] {
        match self {
            Self::Vlog => include_bytes!("../../../models/samples/vlog.onnx"),
            Self::News => include_bytes!("../../../models/samples/news.onnx"),
            Self::Ecommerce => include_bytes!("../../../models/samples/ecommerce.onnx"),
        }
    }

    pub(crate) fn traits(self) -> &'static Traits {
        match self {
            Self::Vlog => &VLOG,
            Self::News => &PAPER,
            Self::Ecommerce => &SHOP,
        }
    }
}

#[cfg(test)]
mod tests {
    use funnelweb_core::scenario::Scenario;

    use super::*;

    #[test]
    fn the_shipped_scenarios_are_valid_and_named_as_the_demo_names_them() {
        for kind in Kind::ALL {
            let scenario = Scenario::parse(kind.scenario_json().as_bytes()).unwrap();
            assert_eq!(scenario.scenario_id, kind.scenario_id());
            assert_eq!(scenario.scenario_type, kind.name());
        }
    }
}
