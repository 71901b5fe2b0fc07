import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from dc_graphsam.chem import MAX_DISTANCE, UNREACHABLE, shortest_paths


def by_queue(num_atoms, bonds):
    """Breadth-first search from one atom after the other."""
    neighbours = [[] for _ in range(num_atoms)]
    for i, j in bonds:
        neighbours[i].append(j)
        neighbours[j].append(i)
    out = np.full((num_atoms, num_atoms), UNREACHABLE, np.uint8)
    for source in range(num_atoms):
        found, queue = {source: 0}, [source]
        for atom in queue:
            for other in neighbours[atom]:
                if other not in found:
                    found[other] = found[atom] + 1
                    queue.append(other)
        for atom, steps in found.items():
            out[source, atom] = min(steps, MAX_DISTANCE)
    return out


def together(graphs):
    """All graphs in one call, as one matrix each."""
    counts = [n for n, _ in graphs]
    ends = np.array([pair for _, bonds in graphs for pair in bonds], int).reshape(-1, 2)
    flat = shortest_paths(counts, [len(bonds) for _, bonds in graphs], ends[:, 0], ends[:, 1])
    parts = np.split(flat, np.cumsum([n * n for n in counts])[:-1])
    return [part.reshape(n, n) for part, n in zip(parts, counts, strict=True)]


def chain(n):
    return n, [(i, i + 1) for i in range(n - 1)]


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 80))
    atom = st.integers(0, n - 1)
    pairs = draw(st.lists(st.tuples(atom, atom), max_size=100))
    return n, sorted({(min(p), max(p)) for p in pairs if p[0] != p[1]})


@settings(max_examples=60, deadline=None)
@given(st.lists(graphs(), min_size=1, max_size=6))
def test_many_graphs_at_once_equal_a_search_atom_by_atom(many):
    for (n, bonds), distance in zip(many, together(many), strict=True):
        np.testing.assert_array_equal(distance, by_queue(n, bonds))


def test_sizes_round_the_word_length_and_different_diameters():
    many = [chain(n) for n in (1, 63, 64, 65, 2, 128, 129, 30, 5, 5, 5)]
    for (n, bonds), distance in zip(many, together(many), strict=True):
        np.testing.assert_array_equal(distance, by_queue(n, bonds))


def test_longer_than_254_is_254_and_other_fragment_is_255():
    n, bonds = chain(300)
    for distance in (together([(n + 1, bonds)])[0], together([(4, []), (n + 1, bonds), (3, [])])[1]):
        np.testing.assert_array_equal(distance, by_queue(n + 1, bonds))
        assert distance[0, 253] == 253
        assert distance[0, 254] == distance[0, 255] == distance[0, 299] == MAX_DISTANCE
        assert (distance[:300, 300] == UNREACHABLE).all()


def test_exactly_254():
    distance = together([chain(255)])[0]
    assert distance[0, 254] == 254
    assert distance[0, 253] == 253


def test_equal_to_rdkit():
    molecule = Chem.MolFromSmiles("CC(C)Cc1ccc(cc1)C(C)C(=O)OC1CC2CCC1C2")
    ends = np.array([(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()])
    n = molecule.GetNumAtoms()
    distance = shortest_paths([n], [len(ends)], *ends.T).reshape(n, n)
    np.testing.assert_array_equal(distance, Chem.GetDistanceMatrix(molecule))


@pytest.mark.parametrize("counts", [[], [0]])
def test_no_atoms(counts):
    empty = np.zeros(0, int)
    assert shortest_paths(counts, [0] * len(counts), empty, empty).shape == (0,)
