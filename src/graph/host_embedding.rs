//! Embeddings that the host hands in, where a Store has not the hash table.

use super::graph::{Graph, Source};
use super::op::Op;
use super::store::StoreLayout;

/// The input [bytes, cols] that stands for byte embedding and hash tables.
pub const EMBEDDED: &str = "embedded";

/// Takes what lookups in tables that the layout lacks would have made from the host instead.
pub fn take_embedding_from_host(graph: &mut Graph, layout: &StoreLayout) {
    let nodes = std::mem::take(&mut graph.nodes);
    for node in nodes {
        let Op::HashEmbedding { .. } = node.op else {
            graph.nodes.push(node);
            continue;
        };
        match &graph.tensor(node.inputs[2]).source {
            Source::Stored { name, .. } if layout.get(name).is_none() => {
                graph.tensors[node.outputs[0].0].source = Source::Input(EMBEDDED.to_owned());
            }
            _ => graph.nodes.push(node),
        }
    }
}
