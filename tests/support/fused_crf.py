"""Labels and counts of the fused kernels in Triton's interpreter, which must be on before Triton is imported.

TRITON_INTERPRET=1 python -m tests.support.fused_crf OUT.npz
"""

import sys

import numpy as np
import torch

from sonarseg.densecrf.engines.torch import engine as torch_engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile
from tests.support.crf_oracles import rgb_of, speckled_tile

CPU = torch.device("cpu")
SOFT = CrfParameters(unary="soft", w_bilateral=3, w_spatial=1, iterations=2)
SEEDS = SOFT.model_copy(update={"unary": "seeds", "background_score": 0.45})
WIDE = SOFT.model_copy(update={"sigma_alpha": 120.0, "sigma_beta": 90.0, "sigma_gamma": 20.0})
NARROW = SOFT.model_copy(update={"sigma_alpha": 1.5, "sigma_beta": 2.0, "sigma_gamma": 0.7})


def tile(height, width, classes, seed, **more):
    """A speckled tile, scores float16."""
    image, scores, _ = speckled_tile(height, width, classes, seed)
    return CrfTile(scores.astype(np.float16), image, **more)


def cases():
    """Batches by name, with their parameters."""
    same = [tile(11, 10, 5, seed) for seed in range(2)]
    ragged = [tile(6, 12, 3, 0, background=1), tile(11, 5, 6, 1), tile(5, 5, 2, 2)]
    colour = tile(5, 7, 3, 3)
    holes = np.random.default_rng(0).random((5, 7)) > 0.3
    colour = CrfTile(colour.scores.astype(np.float32), rgb_of(colour.guide), valid=holes)
    return {
        "same": (same, SOFT),
        "wide": (same, WIDE),
        "narrow": (same[:1], NARROW),
        "ragged": (ragged, SEEDS),
        "colour": ([colour], SOFT),
        "spatial": (ragged[2:], SOFT.model_copy(update={"w_bilateral": 0.0})),
        "bilateral": (ragged[2:], SOFT.model_copy(update={"w_spatial": 0.0})),
        "unary": (ragged[2:], SOFT.model_copy(update={"w_bilateral": 0.0, "w_spatial": 0.0})),
    }


def counted(batch):
    """Masks, one of them with pixels that are left out, and class ids of the rows."""
    generator = np.random.default_rng(1)
    truths = [generator.integers(0, 6, tile.shape).astype(np.uint8) for tile in batch]
    truths[0][:3] = 255
    return truths, [np.arange(len(tile.scores), dtype=np.uint8)[::-1].copy() for tile in batch]


def main():
    """Write the labels of every case and the counts of one."""
    found = {}
    for name, (batch, parameters) in cases().items():
        for index, labels in enumerate(
            torch_engine.label_history(batch, parameters, 2, device=CPU, fused=True)
        ):
            found[f"{name} {index}"] = labels
    batch, parameters = cases()["ragged"]
    counts = torch_engine.confusions(batch, *counted(batch), parameters, 2, 6, device=CPU, fused=True)
    found |= {f"counts {index}": each for index, each in enumerate(counts)}
    again = torch_engine.marginals(cases()["wide"][0], WIDE, device=CPU, fused=True)
    for index, belief in enumerate(again):
        found[f"belief {index}"] = belief
    np.savez(sys.argv[1], **found)


if __name__ == "__main__":
    main()
