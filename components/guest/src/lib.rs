//! funnelweb-guest
