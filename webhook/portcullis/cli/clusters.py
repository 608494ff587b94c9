"""Options by which a command finds its cluster, as kubectl does."""

from pathlib import Path
from typing import Annotated

import typer

KubeconfigOption = Annotated[
    Path | None, typer.Option("--kubeconfig", help="Without it: KUBECONFIG, else ~/.kube/config, else that of the pod.")
]
ContextOption = Annotated[str, typer.Option("--context", help="Of the kubeconfig; without it, its current one.")]
NamespaceOption = Annotated[
    str, typer.Option("--namespace", "-n", help="Without it, that of the context, as for kubectl.")
]
AllNamespacesOption = Annotated[bool, typer.Option("--all-namespaces", "-A", help="In every namespace.")]
