"""This process joins the others of a run: TensorFlow's cluster, brought up before anything is computed."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from unidl.backend import Group
from unidl_tensorflow.quiet import quiet_standard_error

_cluster: list[Any] = []
"""The strategy, which keeps the cluster up and watches the other processes; nothing is built in its scope."""


def join(group: Group) -> None:
    """Join the processes of a group."""
    spec = tf.train.ClusterSpec({"worker": list(group.addresses)})
    resolver: Any = tf.distribute.cluster_resolver.SimpleClusterResolver(
        spec, task_type="worker", task_id=group.rank, rpc_layer="grpc"
    )
    with quiet_standard_error():
        _cluster.append(tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver))
    _cluster.append(group)


def joined() -> Group:
    """Return the group that this process has joined."""
    return _cluster[-1]
