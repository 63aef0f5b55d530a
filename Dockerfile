# docker build -t dpbench .                            for CPUs
# docker build -t dpbench --build-arg TORCH=cu128 .    for NVIDIA GPUs; as `uv pip install --torch-backend` has it
# How it is run: docs/jobs.md

FROM python:3.11-slim-bookworm AS build
COPY --from=ghcr.io/astral-sh/uv:0.13 /uv /usr/local/bin/uv
ARG TORCH=cpu
ENV VIRTUAL_ENV=/opt/bench UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never
RUN uv venv --python /usr/local/bin/python3.11 /opt/bench
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE tasks.yaml margins.yaml nightly.yaml ./
COPY paper_tables paper_tables
COPY reports/templates reports/templates
COPY reports/benchmarks/kernels.json reports/benchmarks/kernels.json
COPY method_template method_template
COPY algorithms algorithms
COPY bench bench
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --torch-backend="$TORCH" --constraint constraints.txt '.[postgres,cluster]'

FROM python:3.11-slim-bookworm
COPY --from=build /opt/bench /opt/bench
# Whoever runs it need not be root, and may have no home: torch and matplotlib keep their caches in HOME.
ENV PATH=/opt/bench/bin:$PATH BENCH_DATA_DIR=/data HOME=/tmp PYTHONUNBUFFERED=1
RUN mkdir -m 777 /data /work
WORKDIR /work
ENTRYPOINT ["bench"]
