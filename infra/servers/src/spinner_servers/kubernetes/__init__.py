"""A real Kubernetes on loopback: etcd, API server, controllers and scheduler, with simulated nodes by kwok.

`start(data)` brings a `Cluster`; `stop(data)` ends its processes. Real nodes are somebody else's: they start
`kube kubelet` from the same binary (`build.kube()`) with `Cluster.kubelet_kubeconfig`.
"""

from spinner_servers.kubernetes.cluster import Cluster, find, restart_api_server, start, stop

__all__ = ["Cluster", "find", "restart_api_server", "start", "stop"]
