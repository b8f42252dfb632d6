//! Inserting nodes.
//!
//! Between nodes, too, an inner product is what makes them near (Morozov and Babenko,
//! "Non-metric similarity graphs for maximum inner product search", 2018), but divided
//! by the root of their lengths. Undivided, all are linked to the longest, and what is
//! short is found from nowhere; divided by all of the lengths, the longest, which are
//! what most queries look for, are not near to each other. So is a distance that comes
//! of one more number for each vector (Bachrach et al., 2014).

use super::{
    Graph, Layer, NONE,
    beam::{Near, Scratch, Target},
    width,
};
use crate::{
    kernels::Codes,
    limits::{BATCH_PART, BREADTH_OF_BUILD, LINKS, MAX_BATCH},
    parallel,
    rows::Rows,
};

/// The links that a new node gets on a layer.
struct Forward {
    layer: usize,
    node: u32,
    links: Vec<u32>,
}

/// A link to `to` that came with a new node, in the order in which they are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Back {
    layer: usize,
    to: u32,
    from: u32,
}

/// What a thread needs, kept from one node to the next.
#[derive(Default)]
struct Worker {
    walk: Scratch,
    codes: Codes,
    choice: Choice,
}

/// What choosing links needs.
#[derive(Default)]
struct Choice {
    codes: Codes,
    products: Vec<i32>,
    scores: Vec<f32>,
}

impl Graph {
    /// Adds the rows that are not in the graph yet. Into an empty graph they come in
    /// random order, of which the first are the higher layers; later ones are on the
    /// lowest layer alone.
    pub fn extend(&mut self, rows: &Rows, threads: usize) {
        let mut done = self.len();
        self.make_room(rows.len());
        let scales: Vec<f32> = (0..rows.len()).map(|node| rows.scale_between(node)).collect();
        let compared = Compared { rows, scales: &scales };
        let mut workers: Vec<Worker> = (0..threads.max(1)).map(|_| Worker::default()).collect();
        while done < rows.len() {
            let batch = (done / BATCH_PART).clamp(1, MAX_BATCH).min(rows.len() - done);
            self.insert(&compared, done, batch, &mut workers);
            done += batch;
        }
    }

    /// Makes all layers as large as they are to be.
    fn make_room(&mut self, nodes: usize) {
        if self.len() == 0 {
            let part = |layer: usize| nodes / LINKS.pow(layer as u32);
            let layers = (0..).take_while(|layer| *layer == 0 || part(*layer) > 0);
            let layer = |layer| Layer { width: width(layer), links: vec![NONE; width(layer) * part(layer)] };
            self.layers = layers.map(layer).collect();
        } else if let Some(lowest) = self.layers.first_mut() {
            lowest.links.resize(lowest.width * nodes, NONE);
        }
    }

    /// Inserts the nodes `first..first + count`, which are linked to none of each other.
    fn insert(&mut self, compared: &Compared<'_>, first: usize, count: usize, workers: &mut [Worker]) {
        let graph = &*self;
        let found = parallel::each(workers, count, |worker, at| graph.forward(compared, (first + at) as u32, worker));
        let mut backs = Vec::new();
        for Forward { layer, node, links } in found.into_iter().flatten() {
            backs.extend(links.iter().map(|to| Back { layer, to: *to, from: node }));
            self.set(layer, node, &links);
        }
        backs.sort_unstable();
        let graph = &*self;
        let groups: Vec<&[Back]> = backs.chunk_by(|a, b| (a.layer, a.to) == (b.layer, b.to)).collect();
        let linked = parallel::each(workers, groups.len(), |worker, at| {
            groups.get(at).and_then(|group| graph.backward(compared, group, worker))
        });
        for Forward { layer, node, links } in linked.into_iter().flatten() {
            self.set(layer, node, &links);
        }
    }

    fn set(&mut self, layer: usize, node: u32, links: &[u32]) {
        if let Some(layer) = self.layers.get_mut(layer) {
            layer.set(node, links);
        }
    }

    /// The links of a new node, on each of its layers.
    fn forward(&self, compared: &Compared<'_>, node: u32, worker: &mut Worker) -> Vec<Forward> {
        if node == 0 {
            return Vec::new();
        }
        worker.codes.set_row(compared.rows.codes(node as usize));
        let mut forward = Vec::new();
        let mut entries = vec![0];
        for (at, layer) in self.layers.iter().enumerate().rev() {
            let target = compared.target(node, &worker.codes);
            if node as usize >= layer.len() {
                entries = entries.into_iter().map(|entry| worker.walk.descend(layer, &target, entry)).collect();
                continue;
            }
            worker.walk.search(layer, &target, &entries, BREADTH_OF_BUILD);
            entries.clear();
            entries.extend(worker.walk.found());
            let links = select(compared, worker.walk.near(), LINKS, &mut worker.choice);
            forward.push(Forward { layer: at, node, links });
        }
        forward
    }

    /// The links of a node to which others were linked.
    fn backward(&self, compared: &Compared<'_>, group: &[Back], worker: &mut Worker) -> Option<Forward> {
        let Back { layer: at, to: node, .. } = *group.first()?;
        let layer = self.layers.get(at)?;
        let mut links = layer.links(node).to_vec();
        links.extend(group.iter().map(|back| back.from));
        if links.len() > layer.width {
            worker.codes.set_row(compared.rows.codes(node as usize));
            let choice = &mut worker.choice;
            compared.target(node, &worker.codes).scores(&links, &mut choice.products, &mut choice.scores);
            let mut near: Vec<Near> =
                links.iter().zip(&choice.scores).map(|(node, score)| Near::new(*node, *score)).collect();
            near.sort_unstable_by(|a, b| b.cmp(a));
            links = select(compared, &near, layer.width, choice);
        }
        Some(Forward { layer: at, node, links })
    }
}

/// What nodes are compared by.
struct Compared<'a> {
    rows: &'a Rows,
    /// What codes are worth between nodes.
    scales: &'a [f32],
}

impl Compared<'_> {
    /// A node, of which these are the codes.
    #[allow(clippy::indexing_slicing, reason = "there is a scale for every node")]
    fn target<'t>(&'t self, node: u32, codes: &'t Codes) -> Target<'t> {
        Target { rows: self.rows, codes, scales: self.scales, scale: self.scales[node as usize] }
    }
}

/// At most `most` of `near`, the nearest first: those that are nearer to the node than
/// to each one that was chosen before (algorithm 4 of the paper), so that links lead
/// into all directions.
fn select(compared: &Compared<'_>, near: &[Near], most: usize, choice: &mut Choice) -> Vec<u32> {
    let mut chosen = Vec::with_capacity(most);
    for candidate in near {
        choice.codes.set_row(compared.rows.codes(candidate.node() as usize));
        let target = compared.target(candidate.node(), &choice.codes);
        target.scores(&chosen, &mut choice.products, &mut choice.scores);
        if choice.scores.iter().all(|score| *score <= candidate.score()) {
            chosen.push(candidate.node());
            if chosen.len() == most {
                break;
            }
        }
    }
    chosen
}
