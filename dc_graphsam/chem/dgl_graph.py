"""Whether a ``DGLGraph`` holds molecules as the models read them."""

from __future__ import annotations

from typing import Any

from dc_graphsam.exceptions import InvalidArgumentError

__all__ = ["check_dgl_graph"]

BOTH_WAYS = "accepted: each bond as two edges, one in each direction"


def check_dgl_graph(graph: Any) -> None:
    """Refuse a (batched) graph that is not molecules with every bond as two opposite edges.

    A batch that lost its borders, as ``dgl.save_graphs`` loses them, would pass for one molecule of many parts. It is known
    by ``ndata["atom_index"]``, which :meth:`MolGraph.to_dgl <dc_graphsam.chem.MolGraph.to_dgl>` sets and which begins at 0 in each
    molecule. A single graph of several parts without it may be a salt or such a batch, and is refused, too.

    Parameters
    ----------
    graph
        ``dgl.DGLGraph`` with the features of edges in ``edata["edge_features"]``, if any.

    Raises
    ------
    InvalidArgumentError
        Self-loops, one direction of a bond without the other, an edge that is there twice, a bond whose two directions have
        different features, an edge between two molecules of the batch, or a batch without its borders.

    Examples
    --------
    >>> import dgl
    >>> check_dgl_graph(dgl.graph(([0, 1], [1, 0])))
    >>> check_dgl_graph(dgl.graph(([0, 1, 1], [1, 0, 1])))
    Traceback (most recent call last):
        ...
    dc_graphsam.exceptions.InvalidArgumentError: graph has 1 self-loop (node 1); accepted: none. dgl.remove_self_loop(graph) takes them out
    """
    import torch

    source, target = graph.edges(order="eid")
    nodes, edges = graph.num_nodes(), len(source)
    if edges:
        loops = source == target
        if bool(loops.any()):
            count, node = int(loops.sum()), int(source[loops][0])
            raise InvalidArgumentError(
                f"graph has {count} self-loop{'s' * (count > 1)} (node {node}); accepted: none. dgl.remove_self_loop(graph) takes them out"
            )
        there, forth = (source.long() * nodes + target).sort()
        back, opposite = (target.long() * nodes + source).sort()
        if bool((there[1:] == there[:-1]).any()):
            place = int((there[1:] == there[:-1]).nonzero()[0])
            a, b = divmod(int(there[place]), nodes)
            raise InvalidArgumentError(
                f"graph has the edge from node {a} to node {b} more than once; {BOTH_WAYS}. dgl.to_simple(graph) takes "
                "repeated edges out"
            )
        if not torch.equal(there, back):
            alone = forth[~torch.isin(there, back)][0]
            a, b = int(source[alone]), int(target[alone])
            raise InvalidArgumentError(
                f"graph has an edge from node {a} to node {b} and none back; {BOTH_WAYS}. dgl.add_reverse_edges(graph, "
                "copy_edata=True) adds the others"
            )
        features = graph.edata.get("edge_features")
        if features is not None and not torch.equal(features[forth], features[opposite]):
            wrong = (features[forth] != features[opposite]).flatten(1).any(1).nonzero()
            if len(wrong):  # NaN differs from itself, and is no matter of direction
                a, b = int(source[forth[wrong[0]]]), int(target[forth[wrong[0]]])
                raise InvalidArgumentError(
                    f"edge_features of the bond between nodes {a} and {b} differ between its two directions; accepted: equal rows"
                )
    _check_borders(graph, source, target)


def _check_borders(graph, source, target) -> None:
    import torch

    size = graph.batch_size
    if size > 1:
        molecules = torch.arange(size, device=source.device)
        of_node = molecules.repeat_interleave(graph.batch_num_nodes().to(source.device))
        of_edge = molecules.repeat_interleave(graph.batch_num_edges().to(source.device))
        known = len(of_node) == graph.num_nodes() and len(of_edge) == len(source)
        if not known or not (
            torch.equal(of_node[source.long()], of_edge) and torch.equal(of_node[target.long()], of_edge)
        ):
            raise InvalidArgumentError(
                "graph has edges that do not lie in one molecule of its batch; accepted: batch_num_nodes and batch_num_edges that "
                "fit, as dgl.batch([…]) sets them"
            )
    advice = (
        "dgl.save_graphs does not keep the borders of a batch: save a list, dgl.save_graphs(file, dgl.unbatch(batch)), and "
        "dgl.batch(graphs) after loading; or give them back with graph.set_batch_num_nodes and graph.set_batch_num_edges"
    )
    if "atom_index" in graph.ndata:
        starts = int((graph.ndata["atom_index"] == 0).sum())
        if starts > size:
            raise InvalidArgumentError(
                f"graph is said to be {size} molecule{'s' * (size > 1)}, but its atom_index begins {starts} times; {advice}"
            )
    elif size == 1 and (parts := _parts(graph.num_nodes(), source.long(), target.long())) > 1:
        raise InvalidArgumentError(
            f"graph is said to be one molecule and has {parts} parts without a bond between them: a batch that lost its borders, or "
            'a salt. If it is one molecule, say so with ndata["atom_index"], the number of each atom, from 0. '
            f"If it is a batch: {advice}"
        )


def _parts(nodes: int, source, target) -> int:
    """Connected components of a graph with both directions of every edge."""
    import torch

    label = torch.arange(nodes, device=source.device)
    while True:
        lower = label.scatter_reduce(0, target, label[source], "amin")
        if torch.equal(lower, label):
            return len(label.unique())
        label = lower
