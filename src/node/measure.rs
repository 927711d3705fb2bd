//! How long things take: histograms in the shape that Prometheus wants.

use std::time::Duration;

/// The upper bound of the first bucket; each further one is twice as long, up to 4 s.
const FIRST: Duration = Duration::from_micros(125);
const BUCKETS: usize = 16;

/// Durations, counted by their order of magnitude.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many were within each bound, and not within the one before.
    buckets: [u64; BUCKETS],
    count: u64,
    sum: Duration,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&mut self, duration: Duration) {
        if let Some(bucket) = (0..BUCKETS).find(|&bucket| duration <= bound(bucket)) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(duration);
    }

    /// How many took at most so many seconds, for each bound.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let mut sum = 0;
        self.buckets.iter().enumerate().map(move |(bucket, count)| {
            sum += count;
            (bound(bucket).as_secs_f64(), sum)
        })
    }

    /// How many there were.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// How long all took together.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        self.sum
    }
}

fn bound(bucket: usize) -> Duration {
    FIRST * (1 << bucket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_than_a_bound_is_above_it() {
        let mut histogram = Histogram::default();
        for micros in [0, 125, 126, 250, 1000, 1001, 10_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let cumulative: Vec<_> = histogram.cumulative().take(5).collect();
        assert_eq!(cumulative, [(0.000_125, 2), (0.000_25, 4), (0.000_5, 4), (0.001, 5), (0.002, 6)]);
        assert_eq!(histogram.cumulative().last(), Some((4.096, 6)), "ten seconds are above all bounds");
        assert_eq!((histogram.count(), histogram.sum()), (7, Duration::from_micros(10_002_502)));
    }
}
