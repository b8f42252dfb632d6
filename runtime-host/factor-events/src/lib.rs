//! funnelweb-factor-events
