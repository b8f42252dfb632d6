//! Tenants' counters as Prometheus reads them, in the text format of OpenMetrics: a
//! counter is called `x`, its value `x_total`.

use std::{collections::BTreeMap, fmt::Write, sync::Arc, time::Duration};

use crate::store::{Counters, Series, Tenant};

/// The counters of all tenants, by name.
#[must_use]
pub fn text(counters: &[(Tenant, Arc<Counters>)]) -> String {
    let mut by_name: BTreeMap<&str, Vec<(&Tenant, &Series, f64)>> = BTreeMap::new();
    for (tenant, values) in counters {
        for (series, value) in values.iter() {
            by_name.entry(&series.name).or_default().push((tenant, series, *value));
        }
    }
    let mut text = String::new();
    for (name, values) in by_name {
        // A `String` takes everything.
        let family = name.strip_suffix("_total").unwrap_or(name);
        let _ = writeln!(text, "# TYPE funnelweb_{family} counter");
        for (tenant, series, value) in values {
            let labels = series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let labels: Vec<String> = std::iter::once(("tenant", tenant.as_str()))
                .chain(labels)
                .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
                .collect();
            let _ = writeln!(text, "funnelweb_{name}{{{}}} {value}", labels.join(","));
        }
    }
    text
}

/// For how long operators have been behind with the logs of tenants; those that are not
/// listed are not.
#[must_use]
pub fn behind(behind: &BTreeMap<Tenant, Duration>) -> String {
    let mut text = String::new();
    if !behind.is_empty() {
        text.push_str("# TYPE funnelweb_stream_behind_seconds gauge\n# UNIT funnelweb_stream_behind_seconds seconds\n");
    }
    for (tenant, time) in behind {
        let tenant = escaped(tenant.as_str());
        let _ = writeln!(text, "funnelweb_stream_behind_seconds{{tenant=\"{tenant}\"}} {}", time.as_secs_f64());
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_behind_is_said_in_seconds() {
        assert_eq!(behind(&BTreeMap::new()), "");
        let one = BTreeMap::from([(Tenant::new("a").unwrap(), Duration::from_millis(1500))]);
        let line = "funnelweb_stream_behind_seconds{tenant=\"a\"} 1.5\n";
        assert!(behind(&one).ends_with(line), "{}", behind(&one));
    }

    #[test]
    fn counters_are_grouped_by_name_and_their_labels_escaped() {
        let tenant = |name: &str| Tenant::new(name).unwrap();
        let series = |name: &str, labels: &[(&str, &str)]| Series {
            name: name.to_owned(),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        let of = |values: Vec<(Series, f64)>| Arc::new(values.into_iter().collect::<Counters>());
        let counters = [
            (tenant("a"), of(vec![(series("x_total", &[("l", "q\"\\\n")]), 3.0), (series("y_total", &[]), 0.5)])),
            (tenant("b"), of(vec![(series("x_total", &[]), 1e15)])),
        ];
        assert_eq!(
            text(&counters),
            "# TYPE funnelweb_x counter\n\
             funnelweb_x_total{tenant=\"a\",l=\"q\\\"\\\\\\n\"} 3\n\
             funnelweb_x_total{tenant=\"b\"} 1000000000000000\n\
             # TYPE funnelweb_y counter\n\
             funnelweb_y_total{tenant=\"a\"} 0.5\n"
        );
    }
}
