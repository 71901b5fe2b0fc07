"""A batched ``DGLGraph`` as the padded tensors the models compute on."""

from __future__ import annotations

import torch
from torch import Tensor

from dc_graphsam.chem.dgl_graph import check_dgl_graph
from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["batch_from_graph"]

NODE_KEY, EDGE_KEY = "node_features", "edge_features"
_LONGEST, _OTHER_FRAGMENT = 254, 255


def batch_from_graph(graph) -> dict[str, Tensor]:
    """Padded batch of a (batched) ``DGLGraph`` with ``ndata["node_features"]`` and ``edata["edge_features"]``.

    Shortest paths are computed from the edges, in as many steps as the longest of them.

    Parameters
    ----------
    graph
        ``dgl.DGLGraph``, both directions of every bond as edges.

    Returns
    -------
    dict
        ``node_features`` [B, N, F], ``node_mask`` [B, N], ``edge_index`` [B, 2, E], ``edge_features`` [B, E, Fe],
        ``distance`` uint8 [B, N, N].

    Raises
    ------
    InvalidArgumentError
        A feature is missing, or the graph is not molecules with both directions of every bond, see
        :func:`~dc_graphsam.chem.dgl_graph.check_dgl_graph`.
    """
    for data, key in ((graph.ndata, NODE_KEY), (graph.edata, EDGE_KEY)):
        if key not in data:
            raise InvalidArgumentError(f"graph has no {key!r}; it has: {', '.join(map(repr, data)) or 'no features'}")
    check_dgl_graph(graph)
    nodes, edges = graph.ndata[NODE_KEY], graph.edata[EDGE_KEY]
    device = nodes.device
    node_counts = graph.batch_num_nodes().to(device).long()  # [B]
    edge_counts = graph.batch_num_edges().to(device).long()
    source, target = (end.long() for end in graph.edges(order="eid"))
    batch, width = len(node_counts), int(node_counts.max())
    most_edges = int(edge_counts.max()) if edge_counts.numel() else 0

    mask = torch.arange(width, device=device) < node_counts.unsqueeze(1)  # [B, N]
    node_features = nodes.new_zeros(batch, width, nodes.shape[1])
    node_features[mask] = nodes
    edge_mask = torch.arange(most_edges, device=device) < edge_counts.unsqueeze(1)
    edge_features = edges.new_zeros(batch, most_edges, edges.shape[1])
    edge_features[edge_mask] = edges
    first = torch.repeat_interleave(node_counts.cumsum(0) - node_counts, edge_counts)
    edge_index = torch.full((batch, 2, most_edges), -1, device=device)
    edge_index[:, 0][edge_mask] = source - first
    edge_index[:, 1][edge_mask] = target - first
    return {
        "node_features": node_features,
        "node_mask": mask,
        "edge_index": edge_index,
        "edge_features": edge_features,
        "distance": shortest_paths(mask, edge_index),
    }


def shortest_paths(mask: Tensor, edge_index: Tensor) -> Tensor:
    """Shortest path lengths in bonds, uint8 [B, N, N]: 255 = no path or padding, 254 = 254 or more.

    >>> mask = torch.ones(1, 3, dtype=torch.bool)
    >>> shortest_paths(mask, torch.tensor([[[0, 1], [1, 0]]])).tolist()
    [[[0, 1, 255], [1, 0, 255], [255, 255, 0]]]
    """
    batch, width = mask.shape
    molecule, edge = (edge_index[:, 0] >= 0).nonzero(as_tuple=True)
    adjacency = torch.zeros(batch, width, width, device=mask.device)
    adjacency[molecule, edge_index[molecule, 1, edge], edge_index[molecule, 0, edge]] = 1
    reached = torch.diag_embed(mask).float()
    distance = torch.full((batch, width, width), _OTHER_FRAGMENT, dtype=torch.uint8, device=mask.device)
    distance[reached.bool()] = 0
    frontier, step = reached, 0
    while bool(frontier.any()):
        step += 1
        frontier = ((adjacency @ frontier) > 0).float() * (1 - reached)
        distance[frontier.bool()] = min(step, _LONGEST)
        reached = reached + frontier
    return distance
