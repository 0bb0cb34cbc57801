# The backend's pods: head and workers. Two targets, of one content but for torch:
#   cpu   the default; give TORCH_INDEX the address of PyTorch's CPU packages, or torch brings 3 GB of CUDA along
#   cuda  for nodes with NVIDIA GPUs; torch brings its own CUDA libraries, the driver comes from the node
# With MODEL=microsoft/GODEL-v1_1-base-seq2seq the weights are in the image, and pods need no way out of the cluster.
# Without, models/mini answers (and says so), because HF_HUB_OFFLINE is set either way.

FROM rayproject/ray:2.60.0-py311-cpu AS packages
# What these stages make belongs to root, and the pods' user reads it.
USER root
# Ray is in the image already: the environment sees it, and pip adds what else pyproject.toml names.
RUN python -m venv --system-site-packages /opt/venv
RUN /opt/venv/bin/python -m pip install --no-cache-dir pip==26.3
WORKDIR /build
COPY pyproject.toml constraints.txt ./

FROM packages AS packages-cpu
ARG TORCH_INDEX=
RUN /opt/venv/bin/python -m pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -c constraints.txt torch
RUN /opt/venv/bin/python -m pip install --no-cache-dir -c constraints.txt --group backend

FROM packages AS packages-cuda
RUN /opt/venv/bin/python -m pip install --no-cache-dir -c constraints.txt --group backend

FROM packages-cpu AS model
ARG MODEL=
ARG REVISION=main
ENV HF_HOME=/models
RUN mkdir /models
RUN if [ -n "$MODEL" ]; then PYTHONPATH=/opt/venv/lib/python3.11/site-packages /opt/venv/bin/python -c \
    "import sys; from huggingface_hub import snapshot_download as get; get(sys.argv[1], revision=sys.argv[2], \
    allow_patterns=['*.json', '*.model', '*.safetensors', 'pytorch_model*.bin'])" "$MODEL" "$REVISION" && chmod -R a+rX /models; fi

# What every target runs: readable by the pods' user, whatever the modes of the files here.
FROM packages AS app
WORKDIR /app
COPY serve_app serve_app
COPY models/mini models/mini
COPY models/vectors models/vectors
COPY models/ranker models/ranker
RUN chmod -R a+rX /app

FROM rayproject/ray:2.60.0-py311-cpu AS runtime
USER root
# The engine's C code is built where it runs, in the instructions that the processor has there: under a second, once a pod.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
# Ray's image lets uid 1000, which is the pods', become root by sudo without a password.
RUN SUDO_FORCE_REMOVE=yes apt-get purge -y sudo && rm -rf /etc/sudoers /etc/sudoers.d
COPY --from=app /app /app
COPY --from=model /models /models
WORKDIR /app
# `ray` belongs to the image's own Python, so the packages are found by this path and not by the environment's.
ENV PYTHONPATH=/app:/opt/venv/lib/python3.11/site-packages
ENV PYTHONDONTWRITEBYTECODE=1
ENV PYTHONUNBUFFERED=1
ENV XDG_CACHE_HOME=/tmp/cache
ENV HF_HOME=/models
ENV HF_HUB_OFFLINE=1
ENV RAY_USAGE_STATS_ENABLED=0
ENV RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=serve_app.proxy_headers:middlewares
# A replica that fails its health checks is killed, and does not hold its CPU while it drains: others take over its replies.
ENV RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS=1
# Why not Ray's 5000: launcher/serve_environment.py.
ENV RAY_kill_worker_timeout_milliseconds=100
USER 1000:100

FROM runtime AS cuda
COPY --from=packages-cuda /opt/venv /opt/venv
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENV TRITON_CACHE_DIR=/tmp/triton

FROM runtime AS cpu
COPY --from=packages-cpu /opt/venv /opt/venv
