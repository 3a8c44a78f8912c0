"""Terms that compare pixel with pixel."""

from hdr_lightning.losses.term import LossTerm, Pictures, Scalar


class L1(LossTerm):
    """Mean absolute error: in [0, 1] for predictions in range; 0.05 to 0.2 on photos, 0 at best."""

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        return (prediction - target).abs().mean()
