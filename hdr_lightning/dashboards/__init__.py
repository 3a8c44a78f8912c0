"""Loggers beside the table of a run: W&B, TensorBoard, MLflow."""

from hdr_lightning.dashboards.dashboard import Dashboard, dashboards, finish
from hdr_lightning.dashboards.setup import mlflow_store, set_up

__all__ = ["Dashboard", "dashboards", "finish", "mlflow_store", "set_up"]
