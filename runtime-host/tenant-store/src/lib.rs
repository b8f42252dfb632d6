//! funnelweb-tenant-store
