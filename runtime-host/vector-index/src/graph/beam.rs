//! Walking a layer towards a target.
#![allow(clippy::indexing_slicing, reason = "links lead to nodes of the layer, of which there is a bit each")]

use super::Layer;
use crate::{
    kernels::{self, Codes},
    rows::Rows,
};

/// What is walked towards.
pub(super) struct Target<'a> {
    pub rows: &'a Rows,
    pub codes: &'a Codes,
    /// What codes of rows are worth.
    pub scales: &'a [f32],
    /// What a code of the target is worth.
    pub scale: f32,
}

impl Target<'_> {
    /// How near each of `nodes` is.
    pub fn scores(&self, nodes: &[u32], products: &mut Vec<i32>, scores: &mut Vec<f32>) {
        products.resize(nodes.len(), 0);
        kernels::products_at(self.rows.all_codes(), self.codes, nodes, products);
        scores.clear();
        let scales = self.scales;
        let score = |(node, product): (&u32, &i32)| *product as f32 * (scales[*node as usize] * self.scale);
        scores.extend(nodes.iter().zip(&*products).map(score));
    }
}

/// A node and how near it is in one number that orders by nearness, then by node,
/// with a bit for whether its links were followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Near(u64);

impl Near {
    const FOLLOWED: u64 = 1;

    pub fn new(node: u32, score: f32) -> Self {
        let bits = score.to_bits();
        // The order of floating-point numbers as that of whole numbers.
        let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        Self(u64::from(ordered) << 32 | u64::from(!node << 1))
    }

    pub fn node(self) -> u32 {
        !(self.0 as u32) >> 1 & (u32::MAX >> 1)
    }

    pub fn score(self) -> f32 {
        let ordered = (self.0 >> 32) as u32;
        f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
    }
}

/// What a walk needs, kept from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The nearest, the best first.
    near: Vec<Near>,
    /// A bit for each node that was seen.
    seen: Vec<u64>,
    nodes: Vec<u32>,
    products: Vec<i32>,
    scores: Vec<f32>,
}

impl Scratch {
    /// The node of `layer` from which no link leads nearer, on the way from `entry`.
    pub(super) fn descend(&mut self, layer: &Layer, target: &Target<'_>, entry: u32) -> u32 {
        target.scores(&[entry], &mut self.products, &mut self.scores);
        let mut best = Near::new(entry, self.scores[0]);
        loop {
            let links = layer.links(best.node());
            target.scores(links, &mut self.products, &mut self.scores);
            let near = links.iter().zip(&self.scores).map(|(node, score)| Near::new(*node, *score));
            match near.max() {
                Some(nearer) if nearer > best => best = nearer,
                _ => return best.node(),
            }
        }
    }

    /// Leaves the `breadth` nearest nodes in reach of `entries` in [`Scratch::near`].
    pub(super) fn search(&mut self, layer: &Layer, target: &Target<'_>, entries: &[u32], breadth: usize) {
        self.near.clear();
        self.seen.clear();
        self.seen.resize(layer.len().div_ceil(64), 0);
        let mut next = 0;
        self.visit(entries, target, breadth, &mut next);
        while let Some(near) = self.near.get_mut(next) {
            if near.0 & Near::FOLLOWED != 0 {
                next += 1;
                continue;
            }
            near.0 |= Near::FOLLOWED;
            let node = near.node();
            next += 1;
            self.visit(layer.slots(node), target, breadth, &mut next);
        }
    }

    /// Puts those of `nodes` that are new and near enough in their places; `next`
    /// becomes the first place from which links may have to be followed.
    fn visit(&mut self, nodes: &[u32], target: &Target<'_>, breadth: usize, next: &mut usize) {
        self.nodes.clear();
        for node in nodes {
            if *node == super::NONE {
                break;
            }
            let (word, bit) = (&mut self.seen[*node as usize / 64], 1 << (node % 64));
            if *word & bit == 0 {
                *word |= bit;
                self.nodes.push(*node);
            }
        }
        target.scores(&self.nodes, &mut self.products, &mut self.scores);
        for (node, score) in self.nodes.iter().zip(&self.scores) {
            let near = Near::new(*node, *score);
            if self.near.len() >= breadth {
                if self.near.last().is_some_and(|worst| near < *worst) {
                    continue;
                }
                self.near.pop();
            }
            let place = self.near.partition_point(|other| *other > near);
            self.near.insert(place, near);
            *next = (*next).min(place);
        }
    }

    /// What the last search left, the nearest first.
    pub(super) fn near(&self) -> &[Near] {
        &self.near
    }

    /// The nodes of [`Scratch::near`].
    pub(super) fn found(&self) -> impl Iterator<Item = u32> + '_ {
        self.near.iter().map(|near| near.node())
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        self.near.capacity() * size_of::<Near>() + self.seen.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearness_orders_by_score_then_node() {
        let ordered = [(7, f32::MAX), (1, 1.0), (2, 1.0), (9, 0.5), (0, 0.0), (3, -0.5), (3, -2.0), (0, f32::MIN)];
        let near = ordered.map(|(node, score)| Near::new(node, score));
        assert!(near.is_sorted_by(|a, b| a > b));
        assert_eq!(near.map(|near| (near.node(), near.score())), ordered);
    }
}
