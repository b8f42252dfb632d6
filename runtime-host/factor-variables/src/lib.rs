//! funnelweb-factor-variables
