//! funnelweb-factor-live
