//! A hierarchy of navigable small worlds (HNSW): Malkov and Yashunin, "Efficient and
//! robust approximate nearest neighbor search using hierarchical navigable small
//! world graphs", 2018.
//!
//! It differs from the paper in how it is laid out and built, not in what it is. The
//! layer of a node is not drawn: nodes are put in random order first, and the first
//! 1/16, 1/256 … of them are the higher layers, so a layer is one array without an
//! index. Nodes are inserted in batches that grow with the graph: those of a batch
//! look for neighbours in the graph as it was before, then links back are added
//! target by target (Manohar et al., "ParlayANN", 2024). No thread sees what another
//! one writes, and the graph is the same for any number of threads.
//!
//! Nodes are compared by the products of their codes.

mod beam;
mod build;

pub(crate) use beam::Scratch;

use crate::{kernels, limits, rows::Rows};
use beam::Target;

/// No link.
const NONE: u32 = u32::MAX;

/// A graph over the first rows of some [`Rows`]; a node is the slot of its row.
#[derive(Debug, Clone)]
pub(crate) struct Graph {
    /// From the lowest, of which all nodes are.
    layers: Vec<Layer>,
}

/// The first nodes and their links to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    /// Links of a node, at most.
    width: usize,
    /// `width` for each node, the rest [`NONE`].
    links: Vec<u32>,
}

impl Layer {
    fn new(width: usize) -> Self {
        Self { width, links: Vec::new() }
    }

    fn len(&self) -> usize {
        self.links.len() / self.width
    }

    /// Those that `node` is linked to.
    #[inline]
    fn links(&self, node: u32) -> &[u32] {
        let links = self.slots(node);
        let count = links.iter().position(|link| *link == NONE).unwrap_or(self.width);
        links.get(..count).unwrap_or(links)
    }

    #[allow(clippy::indexing_slicing, reason = "links lead to nodes of the layer only")]
    fn slots(&self, node: u32) -> &[u32] {
        &self.links[node as usize * self.width..][..self.width]
    }

    /// Replaces the links of `node`; there are no more than the layer takes.
    #[allow(clippy::indexing_slicing, reason = "links lead to nodes of the layer only")]
    fn set(&mut self, node: u32, links: &[u32]) {
        let slots = &mut self.links[node as usize * self.width..][..self.width];
        let (taken, free) = slots.split_at_mut(links.len());
        taken.copy_from_slice(links);
        free.fill(NONE);
    }
}

impl Graph {
    /// Without a node.
    pub fn new() -> Self {
        Self { layers: vec![Layer::new(limits::LINKS_BELOW)] }
    }

    /// From what [`Graph::layers`] gave, if it is a graph over `nodes` rows.
    pub fn from_layers(layers: Vec<Vec<u32>>, nodes: usize) -> Option<Self> {
        let layers: Vec<Layer> =
            layers.into_iter().enumerate().map(|(layer, links)| Layer { width: width(layer), links }).collect();
        let mut above = usize::MAX;
        for layer in &layers {
            let sound = |link: &u32| *link == NONE || (*link as usize) < layer.len();
            if layer.links.len() % layer.width != 0
                || layer.len() == 0
                || layer.len() > above
                || !layer.links.iter().all(sound)
            {
                return None;
            }
            above = layer.len();
        }
        (layers.first()?.len() == nodes).then_some(Self { layers })
    }

    /// The links of each layer, from the lowest.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.layers.iter().map(|layer| layer.links.as_slice())
    }

    /// Nodes.
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, Layer::len)
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        self.layers.iter().map(|layer| layer.links.capacity() * size_of::<u32>()).sum()
    }

    /// Nodes near `codes`, the nearest first: about the `breadth` nearest of all.
    pub fn search<'s>(
        &self,
        rows: &Rows,
        codes: &kernels::Codes,
        breadth: usize,
        scratch: &'s mut Scratch,
    ) -> impl Iterator<Item = u32> + 's {
        // The scale of a query makes no difference to what is nearer.
        let target = Target { rows, codes, scales: rows.scales(), scale: 1.0 };
        let mut entry = 0;
        for layer in self.layers.iter().skip(1).rev() {
            entry = scratch.descend(layer, &target, entry);
        }
        if let Some(lowest) = self.layers.first()
            && lowest.len() > 0
        {
            scratch.search(lowest, &target, &[entry], breadth);
        }
        scratch.found()
    }
}

/// Links of a node on a layer, at most.
fn width(layer: usize) -> usize {
    if layer == 0 { limits::LINKS_BELOW } else { limits::LINKS }
}
