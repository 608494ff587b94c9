# The container image: the locked packages, the program and OPA, on a base without a shell.
#
#     docker build --tag portcullis .
#
# Both bases are Debian 12, so that packages are installed by the very Python that runs them. The digests are those of
# indexes, which hold for every platform; .renovaterc.json tells Renovate to keep them current.
ARG BUILDER=docker.io/library/debian:bookworm-slim@sha256:96e378d7e6531ac9a15ad505478fcc2e69f371b10f5cdf87857c4b8188404716
ARG BASE=gcr.io/distroless/python3-debian12:nonroot@sha256:17b27c84c985a53d0cd2adef4f196ca327fa9b6755369be605cf45533b4e700b

# OPA as it is released. tests/tools/install.py has the same pins.
FROM ${BUILDER} AS opa
ARG TARGETARCH
ARG OPA_URL=https://github.com/open-policy-agent/opa/releases/download/v1.21.0/opa_linux_${TARGETARCH}_static
ARG OPA_SHA256_AMD64=5eef70644868bb04d0556bcc795ee42f2ab379e73f51d1bfa30f83e1305bc9b9
ARG OPA_SHA256_ARM64=0ec34027c15b4d969c21d01ed570fe14fbebd508a08157043ab09f9a0dccbee6
# An address, which hadolint cannot see through the argument.
# hadolint ignore=DL3020
ADD ${OPA_URL} /opa/opa
WORKDIR /opa
RUN case "${TARGETARCH}" in \
      amd64) pin="${OPA_SHA256_AMD64}" ;; \
      arm64) pin="${OPA_SHA256_ARM64}" ;; \
      *) echo "no OPA is pinned for ${TARGETARCH}" >&2; exit 1 ;; \
    esac \
 && echo "${pin}  opa" > /opa.sha256 \
 && sha256sum --check --strict /opa.sha256 \
 && chmod 0755 opa

# The locked packages, then the program, each in a folder of its own: a change of code leaves the packages' layer as it
# is. All packages come as wheels (--no-build), so that nothing of them runs here, and nothing is compiled but bytecode.
FROM ${BUILDER} AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
ENV PORTCULLIS_CACHE=/opt/cache
COPY tests/tools/install.py tests/tools/uv.py tests/tools/
RUN python3 tests/tools/uv.py \
 && ln -s "$(python3 tests/tools/uv.py --path)/uv" /usr/local/bin/uv \
 && install --directory --mode=0700 /data/portcullis

# Bytecode is believed without a look at its source: neither changes in an image.
ENV UV_PYTHON=/usr/bin/python3.11 \
    UV_PROJECT_ENVIRONMENT=/opt/portcullis/venv \
    UV_COMPILE_BYTECODE=1 \
    PYC_INVALIDATION_MODE=UNCHECKED_HASH \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_NO_PROGRESS=1 \
    UV_SYSTEM_CERTS=1
COPY pyproject.toml uv.lock ./
# OpenTelemetry; and the clouds' registries, where they are wanted: --build-arg EXTRAS="otlp ecr gcp azure".
ARG EXTRAS="otlp"
# What goes again: the packages' commands, what activates the environment in a shell (in bin, the links to Python stay),
# uv's notes, and tests that packages bring.
RUN set -- \
 && for extra in ${EXTRAS}; do set -- "$@" --extra "${extra}"; done \
 && uv sync --locked --no-dev --no-install-project --no-build "$@" \
 && uv export --locked --only-dev --no-emit-project --quiet --output-file build-constraints.txt \
 && find /opt/portcullis/venv/bin -type f -delete \
 && find /opt/portcullis/venv -maxdepth 1 -type f -not -name pyvenv.cfg -delete \
 && find /opt/portcullis/venv/lib -type d -name tests -prune -exec rm -r {} + \
 && find /opt/portcullis/venv/lib -type f -perm /0111 -not -name '*.so*' -exec chmod a-x {} + \
 && echo /opt/portcullis/app > /opt/portcullis/venv/lib/python3.11/site-packages/portcullis.pth

COPY LICENSE README.md ./
COPY docs/reasons.md docs/
COPY policies policies
COPY webhook webhook
# hatchling and what it needs are those of the lock, too.
RUN uv build --wheel --build-constraints build-constraints.txt --require-hashes --out-dir dist \
 && uv pip install --python /opt/portcullis/venv --no-deps --target /opt/portcullis/app dist/*.whl \
 && find /opt/portcullis/app -maxdepth 1 -type f -delete \
 && find /opt/portcullis/app -name uv_cache.json -delete

FROM ${BASE}
LABEL org.opencontainers.image.title="Portcullis" \
      org.opencontainers.image.description="Policy-as-code admission gate for Kubernetes: judges workloads by what their images really are" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/portcullis-dev/portcullis"
ENV PATH=/opt/portcullis/app/bin:/opt/portcullis/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PORTCULLIS_CONFIG=/etc/portcullis/portcullis.yaml \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
WORKDIR /
USER 65532:65532
EXPOSE 8443 8081
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["/opt/portcullis/venv/bin/python", "-m", "portcullis", "health"]
ENTRYPOINT ["/opt/portcullis/venv/bin/python", "-m", "portcullis"]
CMD ["serve"]
# What changes most comes last. Beside /tmp, /var/lib/portcullis is all that is written to: records, and the
# self-managed certificate. The rest may be mounted read-only.
COPY --from=opa --chown=0:0 /opa/ /usr/local/bin/
COPY --from=build --chown=65532:65532 /data/ /var/lib/
COPY --from=build --chown=0:0 /opt/portcullis/venv /opt/portcullis/venv
COPY --from=build --chown=0:0 /opt/portcullis/app /opt/portcullis/app
