//! The simulated network: a link in each direction between any two nodes, and the shapes in which links are cut.

use super::faults::Fortune;

/// How the cluster falls apart. A shape speaks of positions in a random order of the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The first no longer reaches the second; the other direction holds.
    OneWay,
    /// The first reaches nobody, and nobody reaches it.
    Isolated,
    /// The first hears nobody.
    Deaf,
    /// Nobody hears the first.
    Mute,
    /// Two sides; the second one has a majority.
    Halves,
    /// Two sides that share one node, which reaches all.
    Bridge,
    /// A circle: each reaches its two neighbours only. With five or more nodes, everyone reaches another majority.
    Ring,
    /// A line: each reaches its neighbours only.
    Chain,
    /// All reach the first, and nobody else: it alone has a majority.
    QuorumLoss,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::OneWay,
        Self::Isolated,
        Self::Deaf,
        Self::Mute,
        Self::Halves,
        Self::Bridge,
        Self::Ring,
        Self::Chain,
        Self::QuorumLoss,
    ];

    /// Whether it cuts the link between two positions, of so many.
    #[must_use]
    pub const fn cuts(self, size: usize, from: usize, to: usize) -> bool {
        let (low, high) = if from < to { (from, to) } else { (to, from) };
        let middle = size / 2;
        match self {
            Self::OneWay => from == 0 && to == 1,
            Self::Isolated => low == 0,
            Self::Deaf => to == 0,
            Self::Mute => from == 0,
            Self::Halves => low < middle && high >= middle,
            Self::Bridge => low < middle && high > middle,
            Self::Ring => high - low != 1 && high - low != size - 1,
            Self::Chain => high - low != 1,
            Self::QuorumLoss => low != 0,
        }
    }
}

/// One cut: a shape, and which node stands at which position.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    pub(super) shape: Shape,
    /// The nodes by position.
    pub(super) order: Vec<usize>,
}

impl Cut {
    pub(super) fn draw(size: usize, fortune: &mut Fortune) -> Self {
        // The cast cannot cut: it is below the number of shapes.
        let shape = Shape::ALL[fortune.within(0..=Shape::ALL.len() as u64 - 1) as usize];
        let mut order: Vec<usize> = (0..size).collect();
        for at in (1..size).rev() {
            order.swap(at, fortune.within(0..=at as u64) as usize);
        }
        Self { shape, order }
    }

    /// The links that it cuts, from and to.
    pub(super) fn links(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let size = self.order.len();
        let pairs = (0..size).flat_map(move |from| (0..size).map(move |to| (from, to)));
        pairs
            .filter(move |&(from, to)| from != to && self.shape.cuts(size, from, to))
            .map(|(from, to)| (self.order[from], self.order[to]))
    }
}

/// All links, in each direction.
#[derive(Debug)]
pub(super) struct Network {
    size: usize,
    links: Vec<Link>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Link {
    /// How many messages of a thousand it loses.
    pub(super) loss: u32,
    /// How many cuts lie on it.
    cuts: u32,
    /// When the last message arrives that went in order.
    pub(super) last_due: u64,
}

impl Network {
    /// Whole links, each of which loses what `loss` says.
    pub(super) fn new(size: usize, mut loss: impl FnMut() -> u32) -> Self {
        let links = (0..size * size).map(|_| Link { loss: loss(), ..Link::default() }).collect();
        Self { size, links }
    }

    pub(super) fn link(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from * self.size + to]
    }

    pub(super) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.links[from * self.size + to].cuts > 0
    }

    /// Returns whether any link was cut.
    pub(super) fn cut(&mut self, cut: &Cut) -> bool {
        let mut any = false;
        for (from, to) in cut.links() {
            self.link(from, to).cuts += 1;
            any = true;
        }
        any
    }

    pub(super) fn mend(&mut self, cut: &Cut) {
        for (from, to) in cut.links() {
            let link = self.link(from, to);
            link.cuts = link.cuts.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who still reaches whom, in both directions, of five.
    fn joined(shape: Shape) -> String {
        let row = |from: usize| -> String {
            (0..5).map(|to| if from != to && shape.cuts(5, from, to) { '.' } else { 'x' }).collect()
        };
        (0..5).map(row).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn shapes_are_what_they_are_called() {
        for (shape, expected) in [
            (Shape::OneWay, "x.xxx xxxxx xxxxx xxxxx xxxxx"),
            (Shape::Isolated, "x.... .xxxx .xxxx .xxxx .xxxx"),
            (Shape::Deaf, "xxxxx .xxxx .xxxx .xxxx .xxxx"),
            (Shape::Mute, "x.... xxxxx xxxxx xxxxx xxxxx"),
            (Shape::Halves, "xx... xx... ..xxx ..xxx ..xxx"),
            (Shape::Bridge, "xxx.. xxx.. xxxxx ..xxx ..xxx"),
            (Shape::Ring, "xx..x xxx.. .xxx. ..xxx x..xx"),
            (Shape::Chain, "xx... xxx.. .xxx. ..xxx ...xx"),
            (Shape::QuorumLoss, "xxxxx xx... x.x.. x..x. x...x"),
        ] {
            assert_eq!(joined(shape), expected, "{shape:?}");
        }
    }

    #[test]
    fn cuts_add_up_and_mend() {
        let mut network = Network::new(5, || 0);
        let order = vec![4, 3, 2, 1, 0];
        let [deaf, isolated] = [Shape::Deaf, Shape::Isolated].map(|shape| Cut { shape, order: order.clone() });
        assert!(network.cut(&deaf) && network.cut(&isolated));
        assert!(network.is_cut(0, 4) && network.is_cut(4, 0) && !network.is_cut(0, 1));
        network.mend(&isolated);
        assert!(network.is_cut(0, 4) && !network.is_cut(4, 0));
        network.mend(&deaf);
        assert!(!network.is_cut(0, 4));
        let alone = Cut { shape: Shape::Isolated, order: vec![0] };
        assert!(!Network::new(1, || 0).cut(&alone));
    }
}
