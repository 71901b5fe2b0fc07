"""What is known of each built-in data set: one record per set, read by the loader, the command line and the docs.

Metrics and splits follow MoleculeNet (Wu et al., Chemical Science 9 (2018) 513-530), but for QM7 a random split takes
the place of the stratified one.
"""

from __future__ import annotations

from dataclasses import dataclass

from dc_graphsam.exceptions import check_choice

__all__ = ["DATASETS", "DatasetEntry", "datasets_table", "get_dataset_entry"]

DOWNLOAD_ROOT = "https://deepchemdata.s3-us-west-1.amazonaws.com/datasets/"


@dataclass(frozen=True)
class DatasetEntry:
    """One built-in data set.

    Attributes
    ----------
    name
        As accepted by :func:`~dc_graphsam.data.load_moleculenet`.
    file
        Raw file that is looked for in ``data_dir``; for an embedded set, where it lies.
    loader
        Function of ``deepchem.molnet`` that reads the file, ``None`` if it is read as a plain table.
    smiles_column
        Column of the raw file.
    task_names
        Columns of the raw file that are labels, in the order of ``labels``.
    task_type, metric
        As in :class:`~dc_graphsam.tasks.TaskSpec`.
    recommended_split
        ``"random"`` or ``"scaffold"``.
    rows
        Rows of the published file, parsable or not.
    description
        What is predicted, with the unit.
    citation
        Where the measurements come from.
    aliases
        Other accepted names.
    embedded
        Comes with RDKit: nothing is downloaded.
    """

    name: str
    file: str
    loader: str | None
    smiles_column: str
    task_names: tuple[str, ...]
    task_type: str
    metric: str
    recommended_split: str
    rows: int
    description: str
    citation: str
    aliases: tuple[str, ...] = ()
    embedded: bool = False

    @property
    def url(self) -> str | None:
        """Address of the raw file, ``None`` for an embedded set."""
        return None if self.embedded else DOWNLOAD_ROOT + self.file


_SIDER_TASKS = (
    "Hepatobiliary disorders",
    "Metabolism and nutrition disorders",
    "Product issues",
    "Eye disorders",
    "Investigations",
    "Musculoskeletal and connective tissue disorders",
    "Gastrointestinal disorders",
    "Social circumstances",
    "Immune system disorders",
    "Reproductive system and breast disorders",
    "Neoplasms benign, malignant and unspecified (incl cysts and polyps)",
    "General disorders and administration site conditions",
    "Endocrine disorders",
    "Surgical and medical procedures",
    "Vascular disorders",
    "Blood and lymphatic system disorders",
    "Skin and subcutaneous tissue disorders",
    "Congenital, familial and genetic disorders",
    "Infections and infestations",
    "Respiratory, thoracic and mediastinal disorders",
    "Psychiatric disorders",
    "Renal and urinary disorders",
    "Pregnancy, puerperium and perinatal conditions",
    "Ear and labyrinth disorders",
    "Cardiac disorders",
    "Nervous system disorders",
    "Injury, poisoning and procedural complications",
)
_TOX21_TASKS = (
    *("NR-AR", "NR-AR-LBD", "NR-AhR", "NR-Aromatase", "NR-ER", "NR-ER-LBD", "NR-PPAR-gamma"),
    *("SR-ARE", "SR-ATAD5", "SR-HSE", "SR-MMP", "SR-p53"),
)
_MUV_TASKS = tuple(
    f"MUV-{n}" for n in (466, 548, 600, 644, 652, 689, 692, 712, 713, 733, 737, 810, 832, 846, 852, 858, 859)
)
# The 12 tasks of MoleculeNet: two excitation energies and two oscillator strengths at three levels of theory.
# DeepChem's list has 16 entries because it names the four PBE0 columns twice.
_QM8_TASKS = tuple(f"{q}-{level}" for level in ("CC2", "PBE0", "CAM") for q in ("E1", "E2", "f1", "f2"))

_ENTRIES = (
    DatasetEntry(
        name="freewilson",
        file="FreeWilson/data/CHEMBL2321810.smi",
        loader=None,
        smiles_column="smiles",
        task_names=("pAct",),
        task_type="regression",
        metric="rmse",
        recommended_split="random",
        rows=1017,
        description="activity of aryl sulfonamides, the 'Act' column as shipped: no unit is given; its range, 4.27 to "
        "9.22, is that of a negative log10 of a molar concentration",
        citation="ChEMBL document CHEMBL2321810, as distributed with RDKit (Contrib/FreeWilson/data)",
        embedded=True,
    ),
    DatasetEntry(
        name="bbbp",
        file="BBBP.csv",
        loader="load_bbbp",
        smiles_column="smiles",
        task_names=("p_np",),
        task_type="classification",
        metric="roc_auc",
        recommended_split="scaffold",
        rows=2050,
        description="penetration of the blood-brain barrier",
        citation="Martins et al., J. Chem. Inf. Model. 52 (2012) 1686-1697",
    ),
    DatasetEntry(
        name="tox21",
        file="tox21.csv.gz",
        loader="load_tox21",
        smiles_column="smiles",
        task_names=_TOX21_TASKS,
        task_type="classification",
        metric="roc_auc",
        recommended_split="random",
        rows=7831,
        description="activity in 12 nuclear receptor and stress response assays",
        citation="Tox21 Challenge, https://tripod.nih.gov/tox21/challenge/",
    ),
    DatasetEntry(
        name="sider",
        file="sider.csv.gz",
        loader="load_sider",
        smiles_column="smiles",
        task_names=_SIDER_TASKS,
        task_type="classification",
        metric="roc_auc",
        recommended_split="random",
        rows=1427,
        description="side effects of marketed drugs in 27 organ classes",
        citation="Kuhn et al., Nucleic Acids Research 44 (2016) D1075-D1079",
    ),
    DatasetEntry(
        name="clintox",
        file="clintox.csv.gz",
        loader="load_clintox",
        smiles_column="smiles",
        task_names=("FDA_APPROVED", "CT_TOX"),
        task_type="classification",
        metric="roc_auc",
        recommended_split="random",
        rows=1484,
        description="approval by the FDA, and failure in clinical trials for toxicity",
        citation="Gayvert et al., Cell Chemical Biology 23 (2016) 1294-1301",
    ),
    DatasetEntry(
        name="bace",
        file="bace.csv",
        loader="load_bace_classification",
        smiles_column="mol",
        task_names=("Class",),
        task_type="classification",
        metric="roc_auc",
        recommended_split="scaffold",
        rows=1513,
        description="inhibition of human beta-secretase 1",
        citation="Subramanian et al., J. Chem. Inf. Model. 56 (2016) 1936-1949",
    ),
    DatasetEntry(
        name="hiv",
        file="HIV.csv",
        loader="load_hiv",
        smiles_column="smiles",
        task_names=("HIV_active",),
        task_type="classification",
        metric="roc_auc",
        recommended_split="scaffold",
        rows=41127,
        description="inhibition of HIV replication",
        citation="NCI/DTP AIDS Antiviral Screen, https://wiki.nci.nih.gov/display/NCIDTPdata/AIDS+Antiviral+Screen+Data",
    ),
    DatasetEntry(
        name="muv",
        file="muv.csv.gz",
        loader="load_muv",
        smiles_column="smiles",
        task_names=_MUV_TASKS,
        task_type="classification",
        metric="prc_auc",
        recommended_split="random",
        rows=93127,
        description="activity in 17 virtual screening assays, few actives, mostly not measured",
        citation="Rohrer and Baumann, J. Chem. Inf. Model. 49 (2009) 169-184",
    ),
    DatasetEntry(
        name="esol",
        file="delaney-processed.csv",
        loader="load_delaney",
        smiles_column="smiles",
        task_names=("measured log solubility in mols per litre",),
        task_type="regression",
        metric="rmse",
        recommended_split="random",
        rows=1128,
        description="solubility in water, log10 of mol/L",
        citation="Delaney, J. Chem. Inf. Comput. Sci. 44 (2004) 1000-1005",
        aliases=("delaney",),
    ),
    DatasetEntry(
        name="lipophilicity",
        file="Lipophilicity.csv",
        loader="load_lipo",
        smiles_column="smiles",
        task_names=("exp",),
        task_type="regression",
        metric="rmse",
        recommended_split="random",
        rows=4200,
        description="octanol/water distribution coefficient, logD at pH 7.4",
        citation="Hersey, ChEMBL Deposited Data Set - AZ dataset (2015), document CHEMBL3301361",
        aliases=("lipo",),
    ),
    DatasetEntry(
        # DeepChem has the set twice. Its load_freesolv downloads labels that are already standardized
        # (deepchem/deepchem#3682), its load_sampl the same molecules in kcal/mol.
        name="freesolv",
        file="SAMPL.csv",
        loader="load_sampl",
        smiles_column="smiles",
        task_names=("expt",),
        task_type="regression",
        metric="rmse",
        recommended_split="random",
        rows=642,
        description="hydration free energy, kcal/mol",
        citation="Mobley and Guthrie, J. Comput.-Aided Mol. Des. 28 (2014) 711-720",
        aliases=("sampl",),
    ),
    DatasetEntry(
        name="qm7",
        file="qm7.csv",
        loader=None,  # load_qm7 wants SDF files with conformers
        smiles_column="smiles",
        task_names=("u0_atom",),
        task_type="regression",
        metric="mae",
        recommended_split="random",
        rows=6830,
        description="atomization energy, kcal/mol",
        citation="Rupp et al., Phys. Rev. Lett. 108 (2012) 058301",
    ),
    DatasetEntry(
        name="qm8",
        file="qm8.csv",
        loader=None,  # load_qm8 wants SDF files with conformers
        smiles_column="smiles",
        task_names=_QM8_TASKS,
        task_type="regression",
        metric="mae",
        recommended_split="random",
        rows=21786,
        description="two lowest excitation energies (E, hartree) and oscillator strengths (f), three levels of theory",
        citation="Ramakrishnan et al., J. Chem. Phys. 143 (2015) 084111",
    ),
)

DATASETS: dict[str, DatasetEntry] = {entry.name: entry for entry in _ENTRIES}
_ALIASES = {alias: entry.name for entry in _ENTRIES for alias in entry.aliases}


def get_dataset_entry(name: str) -> DatasetEntry:
    """Return the record of a built-in data set.

    Parameters
    ----------
    name
        A name of :data:`DATASETS` or an alias, in any case.

    Raises
    ------
    InvalidArgumentError
        If there is no such data set; the message lists those there are.

    Examples
    --------
    >>> get_dataset_entry("Lipo").name
    'lipophilicity'
    >>> get_dataset_entry("bbbp").task_names
    ('p_np',)
    """
    key = name.lower() if isinstance(name, str) else name
    if isinstance(key, str) and key in _ALIASES:
        key = _ALIASES[key]
    return DATASETS[check_choice("dataset", key, DATASETS)]


def datasets_table() -> list[dict[str, object]]:
    """Return one plain dictionary per built-in data set, for printing.

    Examples
    --------
    >>> row = datasets_table()[0]
    >>> row["name"], row["rows"], row["tasks"], row["split"]
    ('freewilson', 1017, 1, 'random')
    """
    return [
        {
            "name": entry.name,
            "rows": entry.rows,
            "tasks": len(entry.task_names),
            "task_type": entry.task_type,
            "metric": entry.metric,
            "split": entry.recommended_split,
            "file": "comes with RDKit" if entry.embedded else entry.file,
            "description": entry.description,
            "citation": entry.citation,
        }
        for entry in DATASETS.values()
    ]
