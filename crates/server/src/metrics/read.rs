//! Metrics that are read where the figure is kept, each time they are asked for.

use std::collections::HashMap;

use prometheus::{
    core::{Collector, Desc},
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

/// How one series is read.
type ReadValue = Box<dyn Fn() -> f64 + Send + Sync>;

/// A metric whose figures are kept elsewhere, and read when a page is made.
pub(crate) struct ReadMetric {
    desc: Desc,
    kind: MetricType,
    /// Each with the value of the metric's only label, if it has one.
    series: Vec<(Option<&'static str>, ReadValue)>,
    label: Option<&'static str>,
}

impl ReadMetric {
    pub(crate) fn gauge(
        name: &str,
        help: &str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> prometheus::Result<Self> {
        Self::new(name, help, MetricType::GAUGE, None, vec![(None, Box::new(read))])
    }

    pub(crate) fn counter(
        name: &str,
        help: &str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> prometheus::Result<Self> {
        Self::new(name, help, MetricType::COUNTER, None, vec![(None, Box::new(move || float(read())))])
    }

    /// A counter with a series for each value of `label`.
    pub(crate) fn counters<const N: usize>(
        name: &str,
        help: &str,
        label: &'static str,
        series: [(&'static str, impl Fn() -> u64 + Send + Sync + 'static); N],
    ) -> prometheus::Result<Self> {
        let series = series.map(|(value, read)| (Some(value), Box::new(move || float(read())) as ReadValue));
        Self::new(name, help, MetricType::COUNTER, Some(label), series.into())
    }

    fn new(
        name: &str,
        help: &str,
        kind: MetricType,
        label: Option<&'static str>,
        series: Vec<(Option<&'static str>, ReadValue)>,
    ) -> prometheus::Result<Self> {
        let labels = label.into_iter().map(str::to_owned).collect();
        let desc = Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())?;
        Ok(Self { desc, kind, series, label })
    }

    fn metric(&self, value: Option<&'static str>, figure: f64) -> Metric {
        let label = self.label.zip(value).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        });
        let mut metric = Metric::from_label(label.into_iter().collect());
        if self.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(figure);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(figure);
            metric.set_gauge(gauge);
        }
        metric
    }
}

impl Collector for ReadMetric {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(self.kind);
        family.set_metric(self.series.iter().map(|(value, read)| self.metric(*value, read())).collect());
        vec![family]
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a figure is a float; counts beyond 2^53 lose their last digits"
)]
fn float(count: u64) -> f64 {
    count as f64
}
