#!/usr/bin/env bash
# DeepChem 2.8.0: a deep copy of a model shares the temporary model_dir of the original and believes that it is its owner, so
# that the checkpoints of the original are deleted with the copy; and no TorchModel with a loss of dc.models.losses can be
# pickled, since such a loss is a function inside a function.
#
# Seen:
#   same folder: True
#   checkpoints of the original before the copy is deleted: True, after: False
#   pickle: Can't pickle local object 'L2Loss._create_pytorch_loss.<locals>.loss'
#   at exit: FileNotFoundError in Model.__del__, of the original
#
# Exit status 0: as described; otherwise the behaviour has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "deepchem==2.8.0" "torch==2.13.0"
cat > "$work/show.py" <<'PY'
import copy
import gc
import pickle

import deepchem as dc
import numpy as np
import torch

data = dc.data.NumpyDataset(np.random.rand(8, 3), np.random.rand(8, 1))
model = dc.models.TorchModel(torch.nn.Linear(3, 1), dc.models.losses.L2Loss(), batch_size=4)
model.fit(data, nb_epoch=1)
twin = copy.deepcopy(model)
same = twin.model_dir == model.model_dir
before = bool(model.get_checkpoints())
del twin
gc.collect()
try:
    after = bool(model.get_checkpoints())
except FileNotFoundError:
    after = False
try:
    pickle.dumps(model)
    said = "done"
except (AttributeError, pickle.PicklingError) as error:
    said = str(error)
print("same folder:", same)
print(f"checkpoints of the original before the copy is deleted: {before}, after: {after}")
print("pickle:", said)
raise SystemExit(0 if same and before and not after and "local object" in said else 1)
PY
"$work/venv/bin/python" "$work/show.py" 2> "$work/errors" || { tail -n 5 "$work/errors"; exit 1; }
grep -q "FileNotFoundError" "$work/errors" && echo "at exit: FileNotFoundError in Model.__del__, of the original"
