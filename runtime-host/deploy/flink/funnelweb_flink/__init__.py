"""Funnelweb's stream operators in Apache Flink: the same components, the same stores."""
