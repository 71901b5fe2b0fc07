"""A page that predicts molecules with several models side by side and shows which atoms the predictions rest on.

    pip install dc-graphsam[demo]
    python examples/space/app.py compt-esol-small runs/demo someone/compt-bbbp-graphsam

Models are run folders, repositories on the Hub, or names of those that come with the package; without any, the
environment variable MODELS is read (separated by commas), and without that the bundled ones are taken. Nothing is loaded
from other hosts: the page works without a network.
"""

from __future__ import annotations

import argparse
import os
from html import escape
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr
from rdkit import Chem, rdBase

from dc_graphsam import pipeline
from dc_graphsam.data import get_dataset_entry
from dc_graphsam.exceptions import DCGraphSAMError, InvalidArgumentError
from dc_graphsam.explain.attribution import METHODS, draw_atom_scores, explain_atoms
from dc_graphsam.hf.pipeline import MoleculePredictor
from dc_graphsam.repository.bundled import bundled_models

HERE = Path(__file__).resolve().parent
EXAMPLES = ["CC(=O)Oc1ccccc1C(=O)O", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "CCO\nCCCCCCCC\nOCC(O)C(O)C(O)C(O)CO"]
FIRST_TASK = "first task"
MOST = 12  # molecules at a time
LARGEST = 200  # atoms of a molecule that still gets a heat map


def load_models(names: list[str]) -> dict[str, MoleculePredictor]:
    """Predictors by the names they have on the page."""
    out: dict[str, MoleculePredictor] = {}
    for name in names:
        short = name.rstrip("/").split("/")[-1]
        out[name if short in out else short] = pipeline(name)
    return out


def describe(model: MoleculePredictor) -> str:
    """What a model predicts, and in which unit."""
    config = model.model.config
    if config.task_type == "classification":
        return f"{config.dataset or 'classification'}: probability of class 1"
    try:
        return get_dataset_entry(config.dataset).description
    except InvalidArgumentError:
        return f"{config.dataset or 'regression'}: value in the unit of the training labels"


def smiles_of_molfile(text: str | None) -> str:
    """SMILES of a molfile or of the first molecule of an SD file.

    Raises
    ------
    gr.Error
        If it holds no molecule; the page shows the message.
    """
    block = (text or "").split("$$$$")[0]
    if not block.strip():
        raise gr.Error("There is no molecule yet: draw one, or paste a molfile.", title="Nothing to read")
    with rdBase.BlockLogs():
        mol = Chem.MolFromMolBlock(block)
        if mol is not None and mol.GetNumAtoms():
            return Chem.MolToSmiles(mol)
        rough = Chem.MolFromMolBlock(block, sanitize=False)
        reasons = [problem.Message() for problem in Chem.DetectChemistryProblems(rough)] if rough is not None else []
    why = reasons[0] if reasons else "it is no molfile (V2000 or V3000)"
    raise gr.Error(f"This structure cannot be used: {why}.", title="Not a valid molecule")


def predict(models: dict[str, MoleculePredictor], text: str, chosen: list[str], task: str, method: str) -> str:
    """The results as HTML: a row per molecule, a column per model."""
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    if not lines:
        return _note("Enter a molecule: a SMILES such as <code>CCO</code>, one per line.")
    if not chosen:
        return _note("Choose at least one model.")
    parts = []
    if len(lines) > MOST:
        parts.append(
            _note(f"Only the first {MOST} of {len(lines)} molecules are shown; for tables use dc-graphsam predict.")
        )
        lines = lines[:MOST]
    rows = {name: models[name](lines) for name in chosen}
    for place, smiles in enumerate(lines):
        errors = {name: rows[name][place].get("error") for name in chosen}
        if all(errors.values()):
            why = escape(next(iter(errors.values())))
            parts.append(
                f'<section class="invalid" role="alert"><b>{escape(smiles)}</b> cannot be used: {why}</section>'
            )
            continue
        cards = "".join(_card(name, models[name], smiles, rows[name][place], task, method) for name in chosen)
        parts.append(f'<section><h3>{escape(smiles)}</h3><div class="models">{cards}</div></section>')
    legend = '<span class="down"></span> lowers the prediction, <span class="up"></span> raises it'
    parts.append(f'<p class="how">Heat map: {legend}. {method.capitalize()}: {escape(METHODS[method])}.</p>')
    return f'<div id="results">{"".join(parts)}</div>'


def _note(text: str) -> str:
    return f'<p class="note">{text}</p>'


def _card(name: str, predictor: MoleculePredictor, smiles: str, row: dict, task: str, method: str) -> str:
    config = predictor.model.config
    head = f"<h4>{escape(name)}</h4><p>{escape(describe(predictor))}</p>"
    if row.get("error"):
        return f'<article>{head}<p class="invalid">{escape(row["error"])}</p></article>'
    names = config.output_names  # tasks; of several classes one name each
    shown = task if task in names else names[0]
    values = "".join(
        f"<tr{' class=shown' if name == shown else ''}><td>{escape(name)}</td><td>{row[name]:.3g}</td></tr>"
        for name in names
    )
    try:
        found = explain_atoms(predictor, smiles, method=method)
        if len(found.scores) > LARGEST:
            picture = f'<p class="note">More than {LARGEST} atoms: no heat map.</p>'
        else:
            scores = found.of(shown)
            svg = draw_atom_scores(smiles, scores, height=250).split("?>", 1)[-1]
            unit = "the unit of the prediction" if config.task_type == "regression" else "log-odds"
            picture = (
                f"<figure>{svg}<figcaption>Atoms and {escape(shown)}: the darkest one counts "
                f"{max(scores, key=abs):+.2g} in {unit}.</figcaption></figure>"
            )
    except DCGraphSAMError as error:
        picture = f'<p class="invalid">{escape(str(error))}</p>'
    return f"<article>{head}<table>{values}</table>{picture}</article>"


def build(models: dict[str, MoleculePredictor]) -> gr.Blocks:
    """The page."""
    tasks = list(dict.fromkeys(task for model in models.values() for task in model.model.config.output_names))
    with gr.Blocks(title="Molecular properties", analytics_enabled=False) as page:
        gr.Markdown(
            "# Molecular properties\nCoMPT graph transformers trained with GraphSAM, and the atoms they look at."
        )
        with gr.Row():
            with gr.Column(scale=2, min_width=380):
                smiles = gr.Textbox(
                    label="Molecules", placeholder="SMILES, one per line", lines=3, max_lines=12, elem_id="smiles"
                )
                with gr.Accordion("Draw a molecule", open=False, elem_id="draw"):
                    gr.HTML('<div id="sketch"></div>')
                    use_drawing = gr.Button("Use the drawing", elem_id="use-drawing")
                with gr.Accordion("Paste or upload a molfile", open=False, elem_id="paste"):
                    molfile = gr.Textbox(label="Molfile or SD file", lines=5, max_lines=8, elem_id="molfile")
                    with gr.Row():
                        use_molfile = gr.Button("Use the molfile", elem_id="use-molfile")
                        upload = gr.UploadButton("Upload .mol or .sdf", file_types=[".mol", ".sdf"])
                chosen = gr.CheckboxGroup(list(models), value=list(models)[:3], label="Models", elem_id="models")
                with gr.Row():
                    task = gr.Dropdown([FIRST_TASK, *tasks], value=FIRST_TASK, label="Heat map of", elem_id="task")
                    method = gr.Dropdown(list(METHODS), value="occlusion", label="Heat map by", elem_id="method")
                start = gr.Button("Predict", variant="primary", elem_id="predict")
                examples = gr.Examples([[text] for text in EXAMPLES], inputs=[smiles], label="Examples")
            with gr.Column(scale=3, min_width=480):
                results = gr.HTML(_note("Results appear here."), elem_id="output")
        drawn = gr.Textbox(visible=False)

        def run(text: str, names: list[str], of: str, by: str) -> str:
            return predict(models, text, names, of, by)

        asked = {"fn": run, "inputs": [smiles, chosen, task, method], "outputs": [results], "show_progress": "minimal"}
        start.click(**asked, api_name="predict")
        smiles.submit(**asked, api_visibility="private")
        examples.load_input_event.success(**asked, api_visibility="private")
        gr.on([task.input, method.input, chosen.input], **asked, api_visibility="private")
        sketched = "() => [window.moleculeSketch ? window.moleculeSketch.molfile() : '']"
        for button, source, script in ((use_drawing, drawn, sketched), (use_molfile, molfile, None)):
            button.click(smiles_of_molfile, [source], [smiles], js=script, api_visibility="private").success(
                **asked, api_visibility="private"
            )
        upload.upload(_read_upload, [upload], [molfile], api_visibility="private")
    return page


def _read_upload(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help="run folders, repositories, or bundled names")
    parser.add_argument("--port", type=int, help="default: the first free one from 7860")
    parser.add_argument("--host", help="default: GRADIO_SERVER_NAME, else this machine only")
    given = parser.parse_args(arguments)
    names = given.models or [name.strip() for name in os.environ.get("MODELS", "").split(",") if name.strip()]
    page = build(load_models(names or bundled_models()))
    fonts = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]  # the default ones come from another host
    page.launch(
        server_name=given.host,
        server_port=given.port,
        theme=gr.themes.Default(font=fonts[0], font_mono=fonts[1]),
        css=(HERE / "style.css").read_text(encoding="utf-8"),
        head=f"<script>{(HERE / 'sketch.js').read_text(encoding='utf-8')}</script>",
        footer_links=[],
        ssr_mode=False,
    )


if __name__ == "__main__":
    main()
