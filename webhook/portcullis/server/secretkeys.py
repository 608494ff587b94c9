"""Keys of signers that lie in Secrets, put into the settings in their places."""

from portcullis.server.settings import Settings


async def with_keys_of_cluster(settings: Settings) -> Settings:
    """The same settings where no key lies in a Secret; else with the keys, which are fetched once.

    Raises:
        ConfigError: a Secret, or its entry, is missing, may not be read, or holds no public key.
        ClusterError: the API server does not answer, or this is no pod.
    """
    secrets = {
        name: signer.key.secret
        for name, signer in settings.trust.signers.items()
        if signer.key is not None and signer.key.secret is not None
    }
    if not secrets:
        return settings
    # Kubernetes' client takes half a second and 30 MiB, which nobody else pays for.
    from portcullis.cluster.keys import SecretKeyRef, public_keys_of_cluster

    refs = {name: SecretKeyRef(one.namespace, one.name, one.key) for name, one in secrets.items()}
    return settings.with_secret_keys(await public_keys_of_cluster(refs))
