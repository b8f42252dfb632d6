//! funnelweb-factor-outbound-http
